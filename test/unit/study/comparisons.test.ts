import { describe, expect, it } from "vitest";
import { comparisonsOf } from "../../../src/study/comparisons.ts";
import type { FinishedRun } from "../../../src/study/results.ts";
import { evaluationOf } from "../../../src/train/metrics.ts";
import { finishedRun } from "./support.ts";

/** A run that is right on these of 8 images. */
function run(variant: string, seed: number, right: readonly number[], count = 8): FinishedRun {
  const labels = Array.from({ length: count }, (_, k) => k % 2);
  const predictions = labels.map((label, k) => (right.includes(k) ? label : 1 - label));
  const test = evaluationOf(["a", "b"], labels, predictions, 1);
  return { ...finishedRun(variant, seed, { testAccuracy: test.accuracy }), test };
}

describe("comparisonsOf", () => {
  const runs = [
    ...[run("plain", 1, [0, 1, 2]), run("se", 1, [0, 1, 2, 3, 4])],
    ...[run("plain", 2, [0, 1, 2, 7]), run("se", 2, [0, 1, 2, 3])],
    run("plain", 3, [0]),
  ];
  const [pair] = comparisonsOf(runs);

  it("takes the seeds that both have", () => {
    expect(pair).toMatchObject({ first: "se", second: "plain", seeds: [1, 2], differences: [0.25, 0] });
    expect(pair.mean).toBe(0.125);
    // t = 1 with one degree of freedom: p = ½
    expect(pair.t).toMatchObject({ df: 1 });
    expect(pair.t!.p).toBeCloseTo(0.5, 12);
  });

  it("counts images seed by seed, and takes each once over all", () => {
    expect(pair.images!.mcnemar).toEqual([
      { seed: 1, onlyFirst: 2, onlySecond: 0, p: 0.5 },
      { seed: 2, onlyFirst: 1, onlySecond: 1, p: 1 },
    ]);
    // image 3: 2, image 4: 1, image 7: −1: (2 + 1 − 1)² / (4 + 1 + 1)
    expect(pair.images!.clustered.chiSquare).toBeCloseTo(4 / 6, 12);
  });

  it("resamples images, always alike", () => {
    const { bootstrap } = pair.images!;
    expect(comparisonsOf(runs)[0].images!.bootstrap).toEqual(bootstrap);
    expect(bootstrap[0]).toBeLessThan(0.125);
    expect(bootstrap[1]).toBeGreaterThan(0.125);
    expect(bootstrap[0]).toBeGreaterThanOrEqual(-1);
  });

  it("has the bootstrap interval that the normal distribution gives for many images", () => {
    const every = (n: number) => Array.from({ length: 4000 }, (_, k) => k).filter((k) => k % n !== 0);
    const [many] = comparisonsOf([run("plain", 1, every(5), 4000), run("se", 1, every(10), 4000)]);
    const mean = 0.1;
    const half = 1.959964 * Math.sqrt((mean - mean ** 2) / 4000);
    expect(many.mean).toBeCloseTo(mean, 12);
    expect(Math.abs(many.images!.bootstrap[0] - (mean - half))).toBeLessThan(0.001);
    expect(Math.abs(many.images!.bootstrap[1] - (mean + half))).toBeLessThan(0.001);
  });

  it("corrects for all pairs", () => {
    const three = ["a", "b", "c"].flatMap((variant, v) =>
      [1, 2, 3].map((seed) =>
        finishedRun(variant, seed, { testAccuracy: 0.5 + 0.1 * v + 0.01 * seed * v * v }),
      ),
    );
    const pairs = comparisonsOf(three);
    expect(pairs.map(({ first, second }) => `${first}-${second}`)).toEqual(["b-a", "c-a", "c-b"]);
    const smallest = pairs.reduce((x, y) => (x.t!.p < y.t!.p ? x : y));
    expect(smallest.t!.holm).toBeCloseTo(3 * smallest.t!.p, 12);
    expect(pairs[0].images).toBeUndefined();
  });

  it("says nothing over seeds with one, and nothing of variants that share none", () => {
    const [one] = comparisonsOf([run("plain", 1, [0]), run("se", 1, [0, 1])]);
    expect(one.t).toBeUndefined();
    expect(one.wilcoxon).toBeUndefined();
    expect(one.images!.count).toBe(8);
    expect(comparisonsOf([run("plain", 1, [0]), run("se", 2, [0, 1])])).toEqual([]);
  });
});
