import { Random } from "../random/random.ts";
import type { Evaluation } from "../train/types.ts";
import {
  clusteredMcnemar,
  holm,
  mcnemar,
  type PairedT,
  pairedT,
  type SignedRank,
  seedsNeeded,
  signedRank,
} from "./paired.ts";
import type { FinishedRun } from "./results.ts";
import { CONFIDENCE, type Interval } from "./statistics.ts";

/** Two variants compared by test accuracy; differences are `first` less `second`, as fractions. */
export interface Comparison {
  readonly first: string;
  readonly second: string;
  /** Those both were trained with. */
  readonly seeds: readonly number[];
  /** A seed each. */
  readonly differences: readonly number[];
  readonly mean: number;
  /** Over seeds; absent with one, or when all differences are equal. `holm` is p corrected for all pairs of the study. */
  readonly t?: PairedT & { readonly holm: number };
  readonly wilcoxon?: SignedRank & { readonly holm: number };
  /** Seeds with which a difference such as this would be shown four times in five, corrected for all pairs; absent beyond a thousand. */
  readonly seedsNeeded?: number;
  /** Over test images, of the models as they were trained; absent where predictions are not known image by image. */
  readonly images?: ImageComparison;
}

export interface ImageComparison {
  readonly count: number;
  /** A seed each: images that only one of the two models gets right, and McNemar's exact p. */
  readonly mcnemar: readonly {
    readonly seed: number;
    readonly onlyFirst: number;
    readonly onlySecond: number;
    readonly p: number;
  }[];
  /** Over all seeds at once, an image being one observation. */
  readonly clustered: { readonly chiSquare: number; readonly p: number; readonly holm: number };
  /** 95 % interval of the mean difference when test images are drawn anew. */
  readonly bootstrap: Interval;
}

/** Every pair of variants that share a seed, in the study's order, the later one first. */
export function comparisonsOf(finished: readonly FinishedRun[]): Comparison[] {
  const variants = [...new Set(finished.map(({ settings }) => settings.variant))];
  const pairs = variants.flatMap((second, k) =>
    variants.slice(k + 1).flatMap((first) => pairOf(finished, first, second) ?? []),
  );
  const intervals = bootstrap(pairs.map(({ byImage }) => byImage));
  const t = holmOf(pairs.map(({ t }) => t?.p));
  const wilcoxon = holmOf(pairs.map(({ wilcoxon }) => wilcoxon?.p));
  const clustered = pairs.map(({ byImage }) => byImage && clusteredMcnemar(byImage.differences));
  const clusteredHolm = holmOf(clustered.map((test) => test?.p));
  const alpha = (1 - CONFIDENCE) / Math.max(1, pairs.length);
  return pairs.map(({ byImage, t: test, wilcoxon: ranks, ...pair }, k) => ({
    ...pair,
    ...(test && { t: { ...test, holm: t[k] }, seedsNeeded: seedsNeeded(test.effect, alpha) }),
    ...(ranks && { wilcoxon: { ...ranks, holm: wilcoxon[k] } }),
    ...(byImage && {
      images: {
        count: byImage.differences.length,
        mcnemar: byImage.mcnemar,
        clustered: { ...clustered[k]!, holm: clusteredHolm[k] },
        bootstrap: intervals[k]!,
      },
    }),
  }));
}

/** Holm's correction of the tests that could be made. */
function holmOf(values: readonly (number | undefined)[]): number[] {
  const made = values.flatMap((p, k) => (p === undefined ? [] : [k]));
  const adjusted = holm(made.map((k) => values[k]!));
  const all = new Array<number>(values.length);
  made.forEach((k, place) => {
    all[k] = adjusted[place];
  });
  return all;
}

interface ByImage {
  readonly seeds: number;
  /** An image each: seeds in which only the first is right, less those in which only the second is. */
  readonly differences: Int16Array;
  readonly mcnemar: ImageComparison["mcnemar"];
}

function pairOf(finished: readonly FinishedRun[], first: string, second: string) {
  const of = (variant: string) =>
    new Map(
      finished.filter(({ settings }) => settings.variant === variant).map((run) => [run.settings.seed, run]),
    );
  const [a, b] = [of(first), of(second)];
  const seeds = [...a.keys()].filter((seed) => b.has(seed)).sort((x, y) => x - y);
  if (seeds.length === 0) return undefined;
  const runs = seeds.map((seed) => [a.get(seed)!, b.get(seed)!] as const);
  const differences = runs.map(([x, y]) => differenceOf(x, y));
  const mean = differences.reduce((sum, d) => sum + d, 0) / differences.length;
  return {
    ...{ first, second, seeds, differences, mean },
    t: pairedT(differences),
    wilcoxon: seeds.length > 1 ? signedRank(differences) : undefined,
    byImage: byImage(seeds, runs),
  };
}

/** From counts where there are, so that equal differences are equal numbers. */
function differenceOf(a: FinishedRun, b: FinishedRun): number {
  const right = ({ accuracy, count }: Evaluation) => Math.round(accuracy * count);
  if (!a.test || !b.test || a.test.count !== b.test.count)
    return a.figures.testAccuracy - b.figures.testAccuracy;
  return (right(a.test) - right(b.test)) / a.test.count;
}

function byImage(
  seeds: readonly number[],
  runs: readonly (readonly [FinishedRun, FinishedRun])[],
): ByImage | undefined {
  const answers = runs.map((pair) => pair.map(({ test }) => test && correctness(test)));
  const count = answers[0][0]?.length;
  const known = answers.every((pair) => pair.every((right) => right !== undefined && right.length === count));
  if (count === undefined || !known) return undefined;
  const differences = new Int16Array(count);
  const tests = seeds.map((seed, k) => {
    const [a, b] = answers[k] as [boolean[], boolean[]];
    let [onlyFirst, onlySecond] = [0, 0];
    for (let i = 0; i < count; i++) {
      differences[i] += Number(a[i]) - Number(b[i]);
      if (a[i] && !b[i]) onlyFirst++;
      if (b[i] && !a[i]) onlySecond++;
    }
    return { seed, onlyFirst, onlySecond, p: mcnemar(onlyFirst, onlySecond) };
  });
  return { seeds: seeds.length, differences, mcnemar: tests };
}

const correctness = ({ labels, predictions }: Evaluation): boolean[] | undefined =>
  labels?.map((label, i) => label === predictions[i]);

const RESAMPLES = 2000;

/**
 * Percentile intervals of mean differences over test images drawn with replacement (Efron, 1979): the same images for
 * all pairs, always the same draws for the same number of images.
 */
function bootstrap(pairs: readonly (ByImage | undefined)[]): (Interval | undefined)[] {
  const known = pairs.flatMap((pair) => pair ?? []);
  const counts = new Set(known.map(({ differences }) => differences.length));
  const intervals = new Map<ByImage, Interval>();
  for (const count of counts) {
    const alike = known.filter(({ differences }) => differences.length === count);
    const means = alike.map(() => new Float64Array(RESAMPLES));
    const random = new Random("bootstrap of test images", count);
    const drawn = new Uint32Array(count);
    for (let resample = 0; resample < RESAMPLES; resample++) {
      for (let i = 0; i < count; i++) drawn[i] = random.int(count);
      alike.forEach(({ differences, seeds }, pair) => {
        let sum = 0;
        for (let i = 0; i < count; i++) sum += differences[drawn[i]];
        means[pair][resample] = sum / (count * seeds);
      });
    }
    alike.forEach((pair, k) => {
      const sorted = means[k].sort();
      intervals.set(pair, [quantile(sorted, (1 - CONFIDENCE) / 2), quantile(sorted, (1 + CONFIDENCE) / 2)]);
    });
  }
  return pairs.map((pair) => pair && intervals.get(pair));
}

/** Linear between the two nearest of sorted values. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(sorted.length - 1, low + 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}
