import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** Loaded when first used: some hundred small files that most commands need not wait for. */
function lazily<A extends readonly number[]>(module: string): (...args: A) => number {
  let loaded: ((...args: A) => number) | undefined;
  return (...args) => {
    loaded ??= require(module) as (...args: A) => number;
    return loaded(...args);
  };
}

/** P(T ≤ x) of Student's t with `df` degrees of freedom. */
export const tCdf = lazily<[x: number, df: number]>("@stdlib/stats-base-dists-t-cdf");
/** The x with P(T ≤ x) = p. */
export const tQuantile = lazily<[p: number, df: number]>("@stdlib/stats-base-dists-t-quantile");
const normal = lazily<[x: number, mean: number, deviation: number]>("@stdlib/stats-base-dists-normal-cdf");
/** P(X ≤ k) successes in n trials of probability p. */
export const binomialCdf = lazily<[k: number, n: number, p: number]>("@stdlib/stats-base-dists-binomial-cdf");

/** P(Z ≤ x) of the standard normal distribution. */
export const normalCdf = (x: number) => normal(x, 0, 1);
