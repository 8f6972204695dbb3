import type { Random } from "../../random/random.ts";
import { halfTangent } from "./outlines.ts";

/** A pattern over the plane: from image coordinates (0 to 1 across the image) to a mixing share of 0 to 1. */
export type Texture = (x: number, y: number) => number;

/** Kinds of pattern; each draws its own scale, direction and place. */
const KINDS: readonly ((random: Random) => Texture)[] = [noise, stripes, checker, gradient, blobs, plaid];

/** A pattern of random kind. */
export function randomTexture(random: Random): Texture {
  return KINDS[random.int(KINDS.length)](random);
}

const LATTICE = 16;

/** Three octaves of value noise on a periodic lattice, turned. */
function noise(random: Random): Texture {
  const lattice = Float64Array.from({ length: LATTICE * LATTICE }, () => random.next());
  const turn = turned(random);
  const scale = random.uniform(2.5, 6);
  return (x, y) => {
    const [u, v] = turn(x, y);
    const octaves =
      4 * valueAt(lattice, u * scale, v * scale) +
      2 * valueAt(lattice, 2 * u * scale + 5, 2 * v * scale + 5) +
      valueAt(lattice, 4 * u * scale + 11, 4 * v * scale + 11);
    return smoothstep(0.2, 0.8, octaves / 7);
  };
}

function stripes(random: Random): Texture {
  const turn = turned(random);
  const frequency = random.uniform(3, 7);
  const softness = random.uniform(0.08, 0.3);
  return (x, y) => smoothstep(0.5 - softness, 0.5 + softness, triangleWave(turn(x, y)[0] * frequency));
}

function checker(random: Random): Texture {
  const turn = turned(random);
  const frequency = random.uniform(2, 5);
  const softness = random.uniform(0.08, 0.25);
  return (x, y) => {
    const [u, v] = turn(x, y);
    const a = smoothstep(0.5 - softness, 0.5 + softness, triangleWave(u * frequency));
    const b = smoothstep(0.5 - softness, 0.5 + softness, triangleWave(v * frequency));
    return a + b - 2 * a * b;
  };
}

/** Straight or, as often, round. */
function gradient(random: Random): Texture {
  const turn = turned(random);
  const round = random.int(2) === 1;
  const reach = random.uniform(0.6, 1);
  return (x, y) => {
    const [u, v] = turn(x, y);
    return round ? Math.min(1, (u * u + v * v) / (reach * reach)) : smoothstep(-reach, reach, u);
  };
}

/** Soft discs, the strongest of those that reach a point. */
function blobs(random: Random): Texture {
  const discs = Array.from({ length: 6 + random.int(9) }, () => ({
    x: random.next(),
    y: random.next(),
    radius: random.uniform(0.05, 0.14),
  }));
  return (x, y) => {
    let most = 0;
    for (const disc of discs) {
      const dx = x - disc.x;
      const dy = y - disc.y;
      const near = 1.3 - (dx * dx + dy * dy) / (disc.radius * disc.radius);
      if (near > most) most = near;
    }
    return smoothstep(0, 0.6, most);
  };
}

function plaid(random: Random): Texture {
  const turn = turned(random);
  const [across, down] = [random.uniform(2, 6), random.uniform(2, 6)];
  return (x, y) => {
    const [u, v] = turn(x, y);
    return (triangleWave(u * across) + triangleWave(v * down)) / 2;
  };
}

/** Coordinates around a random centre in a random direction. */
function turned(random: Random): (x: number, y: number) => readonly [number, number] {
  const [cos, sin] = halfTangent(random.uniform(-1, 1));
  const [cx, cy] = [random.next(), random.next()];
  return (x, y) => [(x - cx) * cos - (y - cy) * sin, (x - cx) * sin + (y - cy) * cos];
}

/** Up from 0 to 1 and down again, once a unit. */
function triangleWave(x: number): number {
  return Math.abs(2 * (x - Math.floor(x)) - 1);
}

export function smoothstep(low: number, high: number, x: number): number {
  const t = Math.min(1, Math.max(0, (x - low) / (high - low)));
  return t * t * (3 - 2 * t);
}

function valueAt(lattice: Float64Array, x: number, y: number): number {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const fx = smoothstep(0, 1, x - x0);
  const fy = smoothstep(0, 1, y - y0);
  const at = (i: number, j: number) => lattice[(i & (LATTICE - 1)) + LATTICE * (j & (LATTICE - 1))];
  const top = at(x0, y0) + (at(x0 + 1, y0) - at(x0, y0)) * fx;
  const bottom = at(x0, y0 + 1) + (at(x0 + 1, y0 + 1) - at(x0, y0 + 1)) * fx;
  return top + (bottom - top) * fy;
}
