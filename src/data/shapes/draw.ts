import type { Random } from "../../random/random.ts";
import { halfTangent, OUTLINES, type Outline } from "./outlines.ts";
import { type Placement, rasterize } from "./raster.ts";
import { randomTexture, type Texture } from "./textures.ts";

type Color = readonly [number, number, number];

/** A pattern between two related colours: what both objects and backgrounds are painted with. */
interface Paint {
  readonly texture: Texture;
  readonly from: Color;
  readonly to: Color;
  readonly mean: Color;
}

/** Square root of the object's area, as a share of the image's side. */
const SIDE_RANGE = [0.31, 0.43] as const;
const STRETCH = 0.12;
/** 2·atan(0.3) is 33°: beyond it, a turned square begins to look like itself again. */
const TURN = 0.3;
const CONTRAST = 0.3;
const GRAIN = 0.03;
/** Share of the largest radius kept from the border: the longest tips may just touch it. */
const INSIDE = 0.9;
const LARGEST_RADIUS = Math.max(...OUTLINES.map((outline) => outline.radius));

/** Draws images of one size, keeping its buffers from one image to the next. */
export class ShapePainter {
  readonly #size: number;
  readonly #coverage: Float64Array;
  readonly #scratch: Float64Array;

  /** @param size side of the square images in pixels. */
  constructor(size: number) {
    this.#size = size;
    this.#coverage = new Float64Array(size * size);
    this.#scratch = new Float64Array(size * (size + 1));
  }

  /** Draws one object: `pixels` [H,W,3] in bytes and `mask` [H,W], 1 where it covers at least half of a pixel. */
  draw(outline: Outline, random: Random, pixels: Uint8Array, mask: Uint8Array): void {
    const size = this.#size;
    const [object, background] = contrastingPaints(random);
    rasterize(outline.polygons, randomPlacement(random, size), size, size, this.#coverage, this.#scratch);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const i = y * size + x;
        const share = this.#coverage[i];
        const [u, v] = [(x + 0.5) / size, (y + 0.5) / size];
        const o = share > 0 ? object.texture(u, v) : 0;
        const b = share < 1 ? background.texture(u, v) : 0;
        const grain = GRAIN * (random.next() + random.next() - 1);
        for (let c = 0; c < 3; c++) {
          const over = object.from[c] + (object.to[c] - object.from[c]) * o;
          const under = background.from[c] + (background.to[c] - background.from[c]) * b;
          const value = under + (over - under) * share + grain;
          pixels[3 * i + c] = Math.round(255 * Math.min(1, Math.max(0, value)));
        }
        mask[i] = share >= 0.5 ? 1 : 0;
      }
    }
  }
}

/** Two paints of one and the same distribution, far enough apart, in random order: neither colour nor pattern tells which is the object. */
function contrastingPaints(random: Random): readonly [Paint, Paint] {
  for (;;) {
    const paints = [randomPaint(random), randomPaint(random)] as const;
    if (Math.abs(luma(paints[0].mean) - luma(paints[1].mean)) >= CONTRAST) return paints;
  }
}

function randomPaint(random: Random): Paint {
  const hue = random.next();
  const saturation = random.uniform(0.15, 0.9);
  const value = random.uniform(0.15, 1);
  const from = rgb(hue, saturation, value);
  const to = rgb(
    hue + random.uniform(-0.12, 0.12),
    saturation * random.uniform(0.7, 1.1),
    value * random.uniform(0.72, 0.95),
  );
  const mean: Color = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2, (from[2] + to[2]) / 2];
  return { texture: randomTexture(random), from, to, mean };
}

/** Brightness as the eye weighs it (Rec. 601). */
function luma([r, g, b]: Color): number {
  return 0.299 * r + 0.587 * g + 0.114 * b;
}

/** From hue, saturation and value; the hue goes round once a unit. */
function rgb(hue: number, saturation: number, value: number): Color {
  const channel = (offset: number) => {
    const k = (offset + 6 * (hue - Math.floor(hue))) % 6;
    return value * (1 - Math.min(1, saturation) * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Size, stretch, turn, mirroring and place: the same distribution whatever the outline. */
function randomPlacement(random: Random, size: number): Placement {
  const scale = random.uniform(...SIDE_RANGE) * size;
  const stretch = 1 + random.uniform(-STRETCH, STRETCH);
  const [cos, sin] = halfTangent(random.uniform(-TURN, TURN));
  const sx = scale * stretch * (random.int(2) === 0 ? 1 : -1);
  const sy = scale / stretch;
  const margin = Math.min(size / 2, INSIDE * LARGEST_RADIUS * scale);
  const e = random.uniform(margin, size - margin);
  const f = random.uniform(margin, size - margin);
  return { a: cos * sx, b: -sin * sy, c: sin * sx, d: cos * sy, e, f };
}
