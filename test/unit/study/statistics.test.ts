import { describe, expect, it } from "vitest";
import { resultsOf } from "../../../src/study/results.ts";
import { spread } from "../../../src/study/statistics.ts";
import { finishedRun, runData } from "./support.ts";

describe("spread", () => {
  it("is the mean and the sample deviation", () => {
    // on paper: mean 5, squares 9+1+1+1+0+0+4+16 = 32, 32/7
    const { mean, deviation, interval } = spread([2, 4, 4, 4, 5, 5, 7, 9]);
    expect(mean).toBe(5);
    expect(deviation).toBeCloseTo(Math.sqrt(32 / 7), 12);
    // t of 7 degrees of freedom at 97.5 %: 2.36462425
    const half = (2.36462425 * Math.sqrt(32 / 7)) / Math.sqrt(8);
    expect(interval![0]).toBeCloseTo(5 - half, 7);
    expect(interval![1]).toBeCloseTo(5 + half, 7);
  });

  it("has no deviation for one value, and 0 for equal ones", () => {
    expect(spread([0.3])).toEqual({ mean: 0.3 });
    expect(spread([2, 2])).toEqual({ mean: 2, deviation: 0, interval: [2, 2] });
    expect(() => spread([])).toThrow(RangeError);
  });
});

describe("resultsOf", () => {
  const results = resultsOf(
    "s",
    runData,
    [
      finishedRun("plain", 1, { testAccuracy: 0.8 }),
      finishedRun("se", 1, { testAccuracy: 0.9 }),
      finishedRun("plain", 2, { testAccuracy: 0.6 }),
    ],
    "0.0.0",
  );

  it("has every run's figures and each variant's statistics", () => {
    expect(results.runs.map(({ variant, seed, testAccuracy }) => [variant, seed, testAccuracy])).toEqual([
      ["plain", 1, 0.8],
      ["se", 1, 0.9],
      ["plain", 2, 0.6],
    ]);
    const { plain, se } = results.statistics;
    expect(plain.runs).toBe(2);
    expect(plain.testAccuracy?.mean).toBeCloseTo(0.7, 12);
    expect(plain.testAccuracy?.deviation).toBeCloseTo(Math.SQRT2 / 10, 12);
    expect(se).toMatchObject({ runs: 1, testAccuracy: { mean: 0.9 } });
  });

  it("leaves out what not every run has", () => {
    const { statistics } = resultsOf(
      "s",
      runData,
      [finishedRun("plain", 1, {}), finishedRun("plain", 2, { validationAccuracy: undefined })],
      "0.0.0",
    );
    expect(statistics.plain.validationAccuracy).toBeUndefined();
    expect(statistics.plain.trainLoss?.deviation).toBe(0);
  });
});
