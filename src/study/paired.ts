import { binomialCdf, normalCdf, tCdf, tQuantile } from "./distributions.ts";
import { CONFIDENCE, type Interval, spread } from "./statistics.ts";

export interface PairedT {
  readonly t: number;
  readonly df: number;
  readonly p: number;
  readonly interval: Interval;
  /** Cohen's d_z: mean of the differences in units of their deviation. */
  readonly effect: number;
}

/**
 * Student's paired t test of differences, two-sided; undefined for fewer than two, and for differences that are all
 * equal: without spread there is no scale to measure them by.
 */
export function pairedT(differences: readonly number[]): PairedT | undefined {
  if (differences.length < 2) return undefined;
  const { mean, deviation, interval } = spread(differences);
  // of equal differences the deviation is rounding alone
  if (deviation! <= 1e-12 * Math.max(...differences.map(Math.abs))) return undefined;
  const df = differences.length - 1;
  const effect = mean / deviation!;
  const t = effect * Math.sqrt(differences.length);
  return { t, df, p: 2 * tCdf(-Math.abs(t), df), interval: interval!, effect };
}

export interface SignedRank {
  /** Sum of the ranks of positive differences. */
  readonly w: number;
  /** Differences that are not zero. */
  readonly n: number;
  readonly p: number;
}

/**
 * Wilcoxon's signed rank test, two-sided and exact: the distribution of the rank sum over all 2ⁿ signs, with mean
 * ranks for ties and without differences of zero (Wilcoxon, 1945).
 */
export function signedRank(differences: readonly number[]): SignedRank {
  const sizes = differences.filter((d) => d !== 0).sort((a, b) => Math.abs(a) - Math.abs(b));
  const n = sizes.length;
  // twice the rank is whole, also of a tie
  const doubled = sizes.map((d) => {
    const first = sizes.findIndex((other) => Math.abs(other) === Math.abs(d));
    const last = sizes.findLastIndex((other) => Math.abs(other) === Math.abs(d));
    return first + last + 2;
  });
  const total = n * (n + 1);
  let chances = new Float64Array(total + 1);
  chances[0] = 1;
  for (const rank of doubled) {
    const next = new Float64Array(total + 1);
    for (let sum = 0; sum <= total; sum++) {
      next[sum] += chances[sum] / 2;
      if (sum + rank <= total) next[sum + rank] += chances[sum] / 2;
    }
    chances = next;
  }
  const positive = doubled.reduce((sum, rank, k) => sum + (sizes[k] > 0 ? rank : 0), 0);
  const low = Math.min(positive, total - positive);
  const tail = chances.subarray(0, low + 1).reduce((sum, chance) => sum + chance, 0);
  return { w: positive / 2, n, p: Math.min(1, 2 * tail) };
}

/** Holm's correction (1979): p values of a family of tests, each as large as it must be for all to hold at once. */
export function holm(values: readonly number[]): number[] {
  const order = values.map((_, k) => k).sort((a, b) => values[a] - values[b]);
  const adjusted = new Array<number>(values.length);
  let largest = 0;
  order.forEach((k, rank) => {
    largest = Math.max(largest, Math.min(1, (values.length - rank) * values[k]));
    adjusted[k] = largest;
  });
  return adjusted;
}

/**
 * McNemar's test in its exact form: p of as uneven a division of the images that only one of two models gets right,
 * two-sided.
 */
export function mcnemar(onlyFirst: number, onlySecond: number): number {
  const n = onlyFirst + onlySecond;
  return n === 0 ? 1 : Math.min(1, 2 * binomialCdf(Math.min(onlyFirst, onlySecond), n, 0.5));
}

/**
 * McNemar's test over several pairs of models on the same images. Images are what is drawn independently, the answers
 * of several seeds to one image are not: its b − c, summed over seeds, is one observation, and
 * (Σ d)² / Σ d² is χ² with one degree of freedom (Durkalski et al., 2003). With one seed it is McNemar's statistic.
 * @param differences an image: seeds in which only the first model is right, less those in which only the second is.
 */
export function clusteredMcnemar(differences: ArrayLike<number>): {
  readonly chiSquare: number;
  readonly p: number;
} {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < differences.length; i++) {
    sum += differences[i];
    squares += differences[i] ** 2;
  }
  const chiSquare = squares === 0 ? 0 : sum ** 2 / squares;
  return { chiSquare, p: 2 * normalCdf(-Math.sqrt(chiSquare)) };
}

const QUADRATURE_STEPS = 2000;
/** Deviations of the normal distribution beyond which nothing is left to add. */
const FAR = 10;

/**
 * Power of the two-sided paired t test with n pairs when differences have mean `effect` in units of their deviation:
 * P(|T| > c) of the noncentral t, as E[Φ(δ − c·s) + Φ(−δ − c·s)] over s = √(χ²/ν), whose density goes with
 * s^(ν−1)·exp(−ν·s²/2).
 */
export function powerOfT(n: number, effect: number, alpha = 1 - CONFIDENCE): number {
  const df = n - 1;
  const delta = Math.abs(effect) * Math.sqrt(n);
  const critical = tQuantile(1 - alpha / 2, df);
  const width = FAR / Math.sqrt(2 * df);
  const [low, high] = [Math.max(0, 1 - width), 1 + width];
  let [power, total] = [0, 0];
  for (let k = 0; k <= QUADRATURE_STEPS; k++) {
    const s = low + ((high - low) * k) / QUADRATURE_STEPS;
    const simpson = k === 0 || k === QUADRATURE_STEPS ? 1 : k % 2 === 1 ? 4 : 2;
    // relative to its value at 1; with one degree of freedom 0⁰ is 1
    const log = (df === 1 ? 0 : (df - 1) * Math.log(s)) - (df * (s * s - 1)) / 2;
    const weight = simpson * Math.exp(log);
    total += weight;
    power += weight * (normalCdf(delta - critical * s) + normalCdf(-delta - critical * s));
  }
  return power / total;
}

export const WANTED_POWER = 0.8;
/** More seeds than anybody trains: beyond, the effect is as good as none. */
export const MOST_SEEDS = 1000;

/** Pairs with which the paired t test would show an effect four times in five; undefined beyond MOST_SEEDS. */
export function seedsNeeded(effect: number, alpha = 1 - CONFIDENCE): number | undefined {
  const enough = (n: number) => powerOfT(n, effect, alpha) >= WANTED_POWER;
  if (!enough(MOST_SEEDS)) return undefined;
  let [few, many] = [1, MOST_SEEDS];
  while (many - few > 1) {
    const middle = (few + many) >> 1;
    if (enough(middle)) many = middle;
    else few = middle;
  }
  return many;
}
