import { Random } from "../../src/random/random.ts";
import { type Shape, sizeOf } from "../../src/tensor/tensor.ts";

/** Makes an operand's values; equal for equal shape and `seed`. */
export type Values = (shape: Shape, seed: string) => Float32Array;

const each =
  (value: (random: Random) => number): Values =>
  (shape, seed) => {
    const random = new Random("test", seed, ...shape);
    return Float32Array.from({ length: sizeOf(shape) }, () => value(random));
  };

export const normal = each((random) => random.normal());

/** Far from 0 in comparison with its spread: the hazard of variances. */
export const offset = (mean: number, deviation: number) =>
  each((random) => mean + deviation * random.normal());

export const positive = each((random) => 0.2 + random.next());

/** At least 0.1 from 0, on either side: nothing near the kink of a ReLU. */
export const awayFromZero = each((random) => (random.next() < 0.5 ? -1 : 1) * (0.1 + random.next()));

/** Few different values, so that maxima tie. */
export const ties = each((random) => random.int(3) - 1);

/** Class indices. */
export const classes = (count: number) => each((random) => random.int(count));

export const filled = (value: number) => each(() => value);

export const listed =
  (...values: number[]): Values =>
  () =>
    Float32Array.from(values);

/** No two values closer than 0.05, around 0: maxima are clear, and stay so under finite differences. */
export const distinct: Values = (shape, seed) => {
  const size = sizeOf(shape);
  const order = new Random("test", seed, ...shape).shuffle(Uint32Array.from({ length: size }, (_, i) => i));
  return Float32Array.from(order, (rank) => 0.05 * (rank - size / 2) + 0.02);
};
