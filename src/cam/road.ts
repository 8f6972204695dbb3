import { Random } from "../random/random.ts";
import { type Explained, pixelOrders, type Score } from "./faithfulness.ts";

/** Shares of the pixels that are removed. */
const SHARES = [0.2, 0.4, 0.6, 0.8];
const NOISE = 0.01;

/**
 * Remove and debias (2202.00449): (LeRF − MoRF)/2, the probability of the class where the least relevant pixels are
 * removed, less that where the most relevant are, averaged over the shares removed. Removed pixels are filled from
 * their neighbours so that no edge tells of them. One value an image.
 */
export async function road(explained: Explained, score: Score): Promise<number[]> {
  const { images, classes, height, width } = explained;
  const area = height * width;
  const orders = pixelOrders(explained);
  const states = 2 * SHARES.length;
  const imputer = new Imputer(height, width);
  const probabilities = await score(
    classes.length * states,
    (index, into) => {
      const k = Math.floor(index / states);
      const state = index % states;
      const count = Math.round(SHARES[state >> 1] * area);
      into.set(images.subarray(k * 3 * area, (k + 1) * 3 * area));
      imputer.impute(into, state % 2 === 0 ? orders[k].subarray(area - count) : orders[k].subarray(0, count));
    },
    (index) => classes[Math.floor(index / states)],
  );
  return classes.map((_, k) => {
    let sum = 0;
    for (let s = 0; s < SHARES.length; s++) {
      sum += (probabilities[k * states + 2 * s] - probabilities[k * states + 2 * s + 1]) / 2;
    }
    return sum / SHARES.length;
  });
}

const MOST_ITERATIONS = 2000;
/** Of the residual's norm, against that of the right-hand side: far below the noise. */
const TOLERANCE = 1e-4;

/**
 * Noisy linear imputation (2202.00449, section 4.1): each removed pixel is the mean of its neighbours, 1/6 each of
 * the four beside it and 1/12 each of the four across, those outside the image left out; noise of σ = 0.01 on top.
 */
export class Imputer {
  readonly #width: number;
  readonly #area: number;
  /** Of a grid with a border of one pixel, so that every pixel has eight neighbours. */
  readonly #stride: number;
  readonly #inside: Float64Array;
  readonly #noise: Float32Array;

  constructor(height: number, width: number, noise = NOISE) {
    this.#width = width;
    this.#area = height * width;
    this.#stride = width + 2;
    this.#inside = new Float64Array((height + 2) * this.#stride);
    for (let p = 0; p < this.#area; p++) this.#inside[this.#at(p)] = 1;
    const random = new Random("road");
    this.#noise = Float32Array.from({ length: 3 * this.#area }, () => noise * random.normal());
  }

  #at(pixel: number): number {
    return (Math.floor(pixel / this.#width) + 1) * this.#stride + (pixel % this.#width) + 1;
  }

  /** Fills the removed pixels of an image [3,H,W] in place. */
  impute(image: Float32Array, removed: Uint32Array): void {
    if (removed.length === 0) return;
    const grid = this.#inside.length;
    const places = Int32Array.from(removed, (p) => this.#at(p));
    const unknown = new Float64Array(grid);
    for (const place of places) unknown[place] = 1;
    // of each removed pixel, the weights of its neighbours within the image
    const diagonal = Float64Array.from(places, (place) => this.#neighbours(this.#inside, place));
    for (let c = 0; c < 3; c++) {
      const plane = image.subarray(c * this.#area, (c + 1) * this.#area);
      const known = new Float64Array(grid);
      plane.forEach((value, p) => {
        const place = this.#at(p);
        if (unknown[place] === 0) known[place] = value;
      });
      const right = Float64Array.from(places, (place) => this.#neighbours(known, place));
      const solution = this.#solve(places, diagonal, right);
      removed.forEach((p, i) => {
        plane[p] = solution[i] + this.#noise[c * this.#area + p];
      });
    }
  }

  #neighbours(v: Float64Array, p: number): number {
    const [above, below] = [p - this.#stride, p + this.#stride];
    const beside = v[p - 1] + v[p + 1] + v[above] + v[below];
    const across = v[above - 1] + v[above + 1] + v[below - 1] + v[below + 1];
    return beside / 6 + across / 12;
  }

  /** Conjugate gradients for d·x − Σ w·x' = b: symmetric, and positive definite where any pixel is known. */
  #solve(places: Int32Array, diagonal: Float64Array, right: Float64Array): Float64Array {
    const n = places.length;
    const x = new Float64Array(n);
    const residual = right.slice();
    const direction = residual.slice();
    const spread = new Float64Array(this.#inside.length);
    const product = new Float64Array(n);
    let energy = dot(residual, residual);
    const enough = TOLERANCE ** 2 * energy;
    for (let iteration = 0; iteration < MOST_ITERATIONS && energy > enough; iteration++) {
      for (let i = 0; i < n; i++) spread[places[i]] = direction[i];
      for (let i = 0; i < n; i++) {
        product[i] = diagonal[i] * direction[i] - this.#neighbours(spread, places[i]);
      }
      const curvature = dot(direction, product);
      if (curvature <= 0) break; // every pixel is removed: nothing is known to fill from
      const step = energy / curvature;
      for (let i = 0; i < n; i++) {
        x[i] += step * direction[i];
        residual[i] -= step * product[i];
      }
      const next = dot(residual, residual);
      for (let i = 0; i < n; i++) direction[i] = residual[i] + (next / energy) * direction[i];
      energy = next;
    }
    return x;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
