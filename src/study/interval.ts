import quantile from "@stdlib/stats-base-dists-t-quantile";

/** A mean and its 95 % interval, which a single value has not. */
export interface Interval {
  readonly mean: number;
  readonly low?: number;
  readonly high?: number;
}

/**
 * The mean of values by seed and image, and a 95 % interval for other seeds and other images alike: both are random,
 * crossed, one value each. The variance of the mean is (MS_seeds + MS_images − MS_rest)/(S·I), with Satterthwaite's
 * degrees of freedom; with one seed it is that over images alone, which says nothing of other seeds.
 */
export function meanInterval(values: readonly (readonly number[])[]): Interval {
  const [seeds, images] = [values.length, values[0].length];
  const mean = average(values.map(average));
  if (images < 2) return { mean };
  const { variance, freedom } = seeds === 1 ? ofImages(values[0], mean) : ofBoth(values, mean, seeds, images);
  const half = quantile(0.975, freedom) * Math.sqrt(variance);
  return { mean, low: mean - half, high: mean + half };
}

const average = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
const squares = (values: readonly number[], mean: number) =>
  values.reduce((sum, x) => sum + (x - mean) ** 2, 0);

function ofImages(values: readonly number[], mean: number) {
  const freedom = values.length - 1;
  return { variance: squares(values, mean) / freedom / values.length, freedom };
}

function ofBoth(values: readonly (readonly number[])[], mean: number, seeds: number, images: number) {
  const rows = values.map(average);
  const columns = values[0].map((_, i) => average(values.map((row) => row[i])));
  const ofSeeds = (images * squares(rows, mean)) / (seeds - 1);
  const ofColumns = (seeds * squares(columns, mean)) / (images - 1);
  let rest = 0;
  values.forEach((row, s) => {
    row.forEach((x, i) => {
      rest += (x - rows[s] - columns[i] + mean) ** 2;
    });
  });
  rest /= (seeds - 1) * (images - 1);
  // the estimate may fall below what either factor alone would give; it is never taken to be less
  const total = Math.max(ofSeeds + ofColumns - rest, ofSeeds, ofColumns);
  const parts =
    ofSeeds ** 2 / (seeds - 1) + ofColumns ** 2 / (images - 1) + rest ** 2 / ((seeds - 1) * (images - 1));
  return { variance: total / (seeds * images), freedom: parts > 0 ? Math.max(1, total ** 2 / parts) : 1 };
}
