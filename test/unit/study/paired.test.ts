import { describe, expect, it } from "vitest";
import { tCdf, tQuantile } from "../../../src/study/distributions.ts";
import {
  clusteredMcnemar,
  holm,
  mcnemar,
  pairedT,
  powerOfT,
  seedsNeeded,
  signedRank,
} from "../../../src/study/paired.ts";

// Values said to be of scipy were computed with scipy 1.17 and statsmodels 0.14.

describe("Student's t", () => {
  it("has the quantiles of the published tables", () => {
    // NIST/SEMATECH handbook, 1.3.6.7.2: upper 2.5 % points
    const table = { 1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 30: 2.042 };
    for (const [df, value] of Object.entries(table))
      expect(tQuantile(0.975, Number(df))).toBeCloseTo(value, 3);
  });

  it("with one and two degrees of freedom has the closed forms", () => {
    for (const t of [-3, -0.5, 0, 0.7, 12]) {
      expect(tCdf(t, 1)).toBeCloseTo(0.5 + Math.atan(t) / Math.PI, 12);
      expect(tCdf(t, 2)).toBeCloseTo(0.5 + t / (2 * Math.sqrt(2 + t * t)), 12);
    }
  });
});

describe("the paired t test", () => {
  const differences = [0.012, 0.004, -0.003, 0.009, 0.007];

  it("is scipy's", () => {
    const { t, df, p, interval, effect } = pairedT(differences)!;
    expect(df).toBe(4);
    expect(t).toBeCloseTo(2.2679794723167475, 10);
    expect(p).toBeCloseTo(0.08591921107989711, 10);
    expect(interval[0]).toBeCloseTo(-0.0013003207069143142, 10);
    expect(interval[1]).toBeCloseTo(0.012900320706914313, 10);
    expect(effect).toBeCloseTo(2.2679794723167475 / Math.sqrt(5), 10);
  });

  it("with three seeds is the formula by hand", () => {
    // mean 2, squares 1 + 0 + 1, deviation 1: t = 2√3, p = 1 − t/√(2 + t²) = 1 − √(12/14)
    const { t, p } = pairedT([1, 2, 3])!;
    expect(t).toBeCloseTo(2 * Math.sqrt(3), 12);
    expect(p).toBeCloseTo(1 - Math.sqrt(12 / 14), 12);
  });

  it("is not made of one difference, nor of equal ones", () => {
    expect(pairedT([0.1])).toBeUndefined();
    expect(pairedT([0.1, 0.1, 0.1])).toBeUndefined();
    expect(pairedT([0, 0])).toBeUndefined();
  });
});

describe("Wilcoxon's signed rank test", () => {
  it("is scipy's exact one", () => {
    expect(signedRank([0.012, 0.004, -0.003, 0.009, 0.007])).toMatchObject({ w: 14, n: 5 });
    expect(signedRank([0.012, 0.004, -0.003, 0.009, 0.007]).p).toBeCloseTo(0.125, 12);
    const twelve = [0.5, 1.5, -2.5, 3.5, 4.5, -5.5, 6.5, 7.5, 8.5, -9.5, 10.5, 12];
    expect(signedRank(twelve)).toMatchObject({ w: 59, n: 12 });
    expect(signedRank(twelve).p).toBeCloseTo(0.12939453125, 12);
  });

  it("with ties is the count over all signs", () => {
    // ranks 2 2 2 4.5 4.5 6, W = 19, 4 of the 64 sums are at most 2: 2·4/64
    expect(signedRank([1, 1, -1, 2, 2, 3])).toEqual({ w: 19, n: 6, p: 0.125 });
  });

  it("has the critical value of the published table, and leaves out zeros", () => {
    // n = 10: a rank sum of 8 is the largest with p ≤ 0.05 (Wilcoxon 1945; Siegel, table G)
    const signs = (negative: readonly number[]) =>
      Array.from({ length: 10 }, (_, k) => (negative.includes(k + 1) ? -k - 1 : k + 1));
    expect(signedRank(signs([8])).p).toBeLessThan(0.05);
    expect(signedRank(signs([9])).p).toBeGreaterThan(0.05);
    expect(signedRank([0, 1, 2, 0])).toEqual({ w: 3, n: 2, p: 0.5 });
    expect(signedRank([0, 0])).toEqual({ w: 0, n: 0, p: 1 });
  });
});

describe("Holm's correction", () => {
  it("is statsmodels'", () => {
    const expected = [0.04, 0.09, 0.09, 0.025, 0.5];
    holm([0.01, 0.04, 0.03, 0.005, 0.5]).forEach((p, k) => {
      expect(p).toBeCloseTo(expected[k], 12);
    });
    expect(holm([])).toEqual([]);
    expect(holm([0.7, 0.8])).toEqual([1, 1]);
  });
});

describe("McNemar's test", () => {
  it("exact, is scipy's binomial test", () => {
    expect(mcnemar(12, 31)).toBeCloseTo(0.005401572654591291, 10);
    expect(mcnemar(7, 3)).toBeCloseTo(0.34375, 12); // 2·(1 + 10 + 45 + 120)/1024
    expect(mcnemar(700, 800)).toBeCloseTo(0.010559255466711506, 8);
    expect(mcnemar(5, 5)).toBe(1);
    expect(mcnemar(0, 0)).toBe(1);
  });

  it("over one seed is statsmodels' χ² without continuity", () => {
    const differences = [...new Array(12).fill(1), ...new Array(31).fill(-1), ...new Array(150).fill(0)];
    const { chiSquare, p } = clusteredMcnemar(differences);
    expect(chiSquare).toBeCloseTo(8.395348837209303, 12);
    expect(p).toBeCloseTo(0.003761823132794379, 10);
  });

  it("does not take the same images with three seeds for three times as many", () => {
    const one = [...new Array(12).fill(1), ...new Array(31).fill(-1)];
    // every seed says the same: nothing was learnt of other images
    expect(clusteredMcnemar(one.map((d) => 3 * d)).p).toBeCloseTo(clusteredMcnemar(one).p, 12);
    // by hand: (3 + 1 − 2)² / (9 + 1 + 4)
    expect(clusteredMcnemar([3, 1, -2, 0]).chiSquare).toBeCloseTo(4 / 14, 12);
    expect(clusteredMcnemar([0, 0])).toEqual({ chiSquare: 0, p: 1 });
  });
});

describe("power", () => {
  it("is that of scipy's noncentral t", () => {
    const known = [
      [3, 0.5, 0.05, 0.08410705589638942],
      [5, 1.2, 0.05, 0.5302212511402794],
      [10, 0.8, 0.05 / 6, 0.2815267656741478],
      [2, 2, 0.05, 0.17570741109776028],
      [30, 0.4, 0.01, 0.3053396367299437],
    ];
    for (const [n, effect, alpha, power] of known) expect(powerOfT(n, effect, alpha)).toBeCloseTo(power, 7);
    expect(powerOfT(8, 0)).toBeCloseTo(0.05, 10);
  });

  it("says how many seeds are needed, as statsmodels' solution rounded up", () => {
    expect([seedsNeeded(1), seedsNeeded(-0.5), seedsNeeded(1.5, 0.05 / 6), seedsNeeded(0.2)]).toEqual([
      10, 34, 9, 199,
    ]);
    expect(seedsNeeded(0.01)).toBeUndefined();
    expect(seedsNeeded(50)).toBe(2);
  });
});
