import { tQuantile } from "./distributions.ts";

/** Mean over the seeds, and what a single value has not: sample deviation (n − 1) and 95 % interval of the mean (t). */
export interface Spread {
  readonly mean: number;
  readonly deviation?: number;
  readonly interval?: Interval;
}

export type Interval = readonly [low: number, high: number];

export const CONFIDENCE = 0.95;

/** @throws RangeError for no values. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("spread of no values");
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  if (values.length === 1) return { mean };
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / (values.length - 1));
  const half = (tQuantile((1 + CONFIDENCE) / 2, values.length - 1) * deviation) / Math.sqrt(values.length);
  return { mean, deviation, interval: [mean - half, mean + half] };
}
