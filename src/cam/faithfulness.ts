import { Random } from "../random/random.ts";
import type { Draw } from "./network.ts";

/** Probability of a class for each of many images that are drawn when their turn comes. */
export type Score = (count: number, draw: Draw, classOf: (k: number) => number) => Promise<Float32Array>;

/** Images [N,3,H,W], their finished maps [N,H,W] from 0 to 1, and the class each map is about. */
export interface Explained {
  readonly images: Float32Array;
  readonly maps: Float32Array;
  readonly classes: readonly number[];
  readonly height: number;
  readonly width: number;
}

/** Steps from an untouched image to one without any of its pixels. */
const STEPS = 20;

/** Pixels by decreasing value; equals in an order drawn once and for all, which favours no side of the image. */
export function pixelOrder(map: Float32Array): Uint32Array {
  const drawn = new Random("equal pixels").shuffle(Uint32Array.from(map, (_, i) => i));
  const rank = new Uint32Array(map.length);
  drawn.forEach((pixel, k) => {
    rank[pixel] = k;
  });
  return Uint32Array.from(map, (_, i) => i).sort((a, b) => map[b] - map[a] || rank[a] - rank[b]);
}

export function pixelOrders({ maps, classes, height, width }: Explained): Uint32Array[] {
  const area = height * width;
  return classes.map((_, k) => pixelOrder(maps.subarray(k * area, (k + 1) * area)));
}

/**
 * Areas under the probability of the class while pixels are taken over from one image to another, the most salient
 * first, a twentieth of them at a time (RISE, 1806.07421, section 4.3): `deletion` from the image to zeros, which are
 * the mean colour of a normalised image, `insertion` from its blurred copy to the image. One value an image each.
 */
export async function insertionDeletion(
  explained: Explained,
  score: Score,
): Promise<{ readonly insertion: number[]; readonly deletion: number[] }> {
  const { images, classes, height, width } = explained;
  const size = 3 * height * width;
  const orders = pixelOrders(explained);
  const blurred = classes.map((_, k) => blur(images.subarray(k * size, (k + 1) * size), height, width));
  const areas = async (from: (k: number) => Float32Array, to: (k: number) => Float32Array) => {
    const states = STEPS + 1;
    const probabilities = await score(
      classes.length * states,
      (index, into) => {
        const k = Math.floor(index / states);
        const taken = Math.round(((index % states) * height * width) / STEPS);
        into.set(from(k));
        replace(into, to(k), orders[k].subarray(0, taken));
      },
      (index) => classes[Math.floor(index / states)],
    );
    return classes.map((_, k) => areaUnder(probabilities.subarray(k * states, (k + 1) * states)));
  };
  const zeros = new Float32Array(size);
  const image = (k: number) => images.subarray(k * size, (k + 1) * size);
  return {
    insertion: await areas((k) => blurred[k], image),
    deletion: await areas(image, () => zeros),
  };
}

/** Takes the pixels over from another image, in all three channels. */
function replace(image: Float32Array, other: Float32Array, pixels: Uint32Array): void {
  const area = image.length / 3;
  for (const p of pixels) for (let c = 0; c < 3; c++) image[c * area + p] = other[c * area + p];
}

/** By trapezoids, over an axis from 0 to 1. */
export function areaUnder(values: ArrayLike<number>): number {
  let sum = -(values[0] + values[values.length - 1]) / 2;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / (values.length - 1);
}

const RADIUS = 5;
const SIGMA = 5;

/** Gaussian blur, 11 pixels wide with σ = 5 as in RISE's code; what lies beyond the border does not count. [3,H,W]. */
export function blur(image: Float32Array, height: number, width: number): Float32Array {
  const kernel = Array.from({ length: 2 * RADIUS + 1 }, (_, i) =>
    Math.exp(-((i - RADIUS) ** 2) / (2 * SIGMA ** 2)),
  );
  const along = (source: Float32Array, length: number, step: number, first: (line: number) => number) => {
    const out = new Float32Array(source.length);
    for (let line = 0; line < source.length / length; line++) {
      const start = first(line);
      for (let i = 0; i < length; i++) {
        let [sum, weight] = [0, 0];
        for (let j = Math.max(0, i - RADIUS); j <= Math.min(length - 1, i + RADIUS); j++) {
          sum += kernel[j - i + RADIUS] * source[start + j * step];
          weight += kernel[j - i + RADIUS];
        }
        out[start + i * step] = sum / weight;
      }
    }
    return out;
  };
  const rows = along(image, width, 1, (line) => line * width);
  const plane = height * width;
  return along(rows, height, width, (line) => Math.floor(line / width) * plane + (line % width));
}

/**
 * What the image multiplied by its map keeps (Grad-CAM++, 1710.11063, section 4.1): `drop`, the share of the
 * probability that is lost, 0 where none is; `increase`, 1 where the probability rises.
 */
export async function dropAndIncrease(
  { images, maps, classes, height, width }: Explained,
  score: Score,
): Promise<{ readonly drop: number[]; readonly increase: (0 | 1)[] }> {
  const area = height * width;
  const probabilities = await score(
    2 * classes.length,
    (index, into) => {
      const k = index >> 1;
      into.set(images.subarray(k * 3 * area, (k + 1) * 3 * area));
      if (index % 2 === 1) for (let i = 0; i < into.length; i++) into[i] *= maps[k * area + (i % area)];
    },
    (index) => classes[index >> 1],
  );
  const of = (k: number) => ({ whole: probabilities[2 * k], kept: probabilities[2 * k + 1] });
  return {
    drop: classes.map((_, k) => {
      const { whole, kept } = of(k);
      return whole > 0 ? Math.max(0, whole - kept) / whole : 0;
    }),
    increase: classes.map((_, k) => (of(k).kept > of(k).whole ? 1 : 0)),
  };
}
