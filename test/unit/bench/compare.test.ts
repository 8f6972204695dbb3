import { describe, expect, it } from "vitest";
import { type Row, ratiosOf } from "../../../src/bench/compare.ts";
import type { Workload } from "../../../src/bench/measure.ts";
import { documentOf, textOf } from "../../../src/bench/print.ts";
import type { Result } from "../../../src/bench/turns.ts";

function program(name: string, train: number | undefined, infer: number, memory?: number): Result {
  const measured = {
    trainImagesPerSecond: train,
    inferImagesPerSecond: infer,
    peakRssMiB: memory,
    parameters: 7,
    version: `${name[0]} 1.0`,
  };
  return { name, rounds: [measured], median: measured };
}

const workload = (attention: string, threads: number): Workload => ({
  stem: "cifar",
  attention,
  batch: 32,
  steps: 3,
  threads,
});

const row = (settings: Workload, ours: Result[], others: Result[] = []): Row => ({ settings, ours, others });

describe("ratiosOf", () => {
  it("compares each figure with the best that another reached", () => {
    const others = [program("X", 5, 100, 400), program("Y", 8, 40, 800), { name: "Z", failure: "none here" }];
    const only = row(workload("none", 2), [program("Atento", 12, 50, 200)], others);
    expect(ratiosOf(only, [only])).toEqual([
      { over: "the best of the others", train: 1.5, infer: 0.5, memory: 0.5 },
    ]);
  });

  it("compares round by round, so that a change of the machine's speed between rounds does not count", () => {
    const ofRounds = (name: string, speeds: number[]): Result => ({
      name,
      rounds: speeds.map((speed) => program(name, speed, speed, 1000 / speed).rounds![0]),
    });
    const only = row(
      workload("none", 2),
      [ofRounds("Atento", [20, 8, 12, 6, 9])],
      [ofRounds("X", [10, 5, 6, 4, 3]), ofRounds("Y", [5, 4, 4, 2, 3])],
    );
    // over X 2, 1.6, 2, 1.5 and 3, over Y 4, 2, 3, 3 and 3
    expect(ratiosOf(only, [only])).toEqual([
      { over: "the best of the others", train: 2, infer: 2, memory: 1 / 2 },
    ]);
  });

  it("leaves out figures nobody has", () => {
    const only = row(workload("none", 2), [program("Atento", 12, 50, 200)], [program("X", undefined, 100)]);
    expect(ratiosOf(only, [only])).toEqual([{ over: "the best of the others", infer: 0.5 }]);
    const alone = row(workload("none", 2), [program("Atento", 12, 50, 200)]);
    expect(ratiosOf(alone, [alone])).toEqual([]);
  });

  it("compares itself without attention and with fewer threads", () => {
    const rows = [
      row(workload("none", 1), [program("Atento", 10, 20, 100)]),
      row(workload("none", 2), [program("Atento", 16, 40, 100)]),
      row(workload("se", 1), [program("Atento", 9, 10, 110)]),
      row(workload("se", 2), [program("Atento", 12, 20, 120)]),
    ];
    expect(ratiosOf(rows[0], rows)).toEqual([]);
    expect(ratiosOf(rows[1], rows)).toEqual([
      { over: "itself with 1 thread", train: 1.6, infer: 2, memory: 1 },
    ]);
    expect(ratiosOf(rows[3], rows).map(({ over, train }) => [over, train])).toEqual([
      ["itself without attention", 0.75],
      ["itself with 1 thread", 12 / 9],
    ]);
  });
});

describe("a row", () => {
  const missing = "No module named 'z'\npip install z";
  const others = [
    program("X", 8, 100, 400),
    { name: "Z", failure: missing },
    { name: "Z, other mode", failure: missing },
  ];
  const one = row(
    workload("se", 2),
    [program("Atento", 12, 50, 200), program("Atento, avx2", 11, 45)],
    others,
  );
  const ratios = ratiosOf(one, [one]);

  it("is printed with failures as lines of the table, and why below it", () => {
    const text = textOf(one, ratios);
    expect(text).toMatch(/^stem cifar, attention se, batch 32, 2 threads\n/);
    expect(text).toMatch(/^Atento +12\.0 +50\.0 +200$/m);
    expect(text).toMatch(/^Atento, avx2 +11\.0 +45\.0 +–$/m);
    expect(text).toMatch(/^Z +failed +– +–$/m);
    expect(text).toMatch(/^Atento over the best of the others +1\.50 +0\.50 +0\.50$/m);
    expect(text).toContain("\nZ; Z, other mode:\n  No module named 'z'\n  pip install z\n");
    expect(text).toMatch(/\nwith X 1\.0$/);
  });

  it("is one flat object in JSON", () => {
    expect(documentOf(one, ratios)).toMatchObject({
      attention: "se",
      threads: 2,
      trainImagesPerSecond: 12,
      peakRssMiB: 200,
      variants: [{ name: "Atento, avx2" }],
      opponents: [{ name: "X" }, { failure: missing }, { failure: missing }],
      ratios: [{ train: 1.5 }],
    });
  });
});
