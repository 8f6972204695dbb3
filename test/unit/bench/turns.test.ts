import { expect, it } from "vitest";
import type { Measurement } from "../../../src/bench/measure.ts";
import { type Failure, inTurns, type Program } from "../../../src/bench/turns.ts";

const measured = (train: number): Measurement => ({
  trainImagesPerSecond: train,
  inferImagesPerSecond: 2 * train,
  parameters: 7,
  version: "1.0",
});

/** A program that answers one after the other. */
function scripted(name: string, answers: (Measurement | Failure)[], log: string[]): Program {
  return {
    name,
    run: async () => {
      log.push(name);
      return answers.shift()!;
    },
  };
}

it("measures in turns and takes the median of every figure", async () => {
  const log: string[] = [];
  const a = scripted("a", [3, 1, 2].map(measured), log);
  const b = scripted("b", [10, 30, 20].map(measured), log);
  const told: number[] = [];
  const results = await inTurns([a, b], 3, (k) => told.push(k));
  expect(log.join("")).toBe("ababab");
  expect(told).toEqual([0, 1, 0, 1, 0, 1]);
  expect(results).toEqual([
    { name: "a", rounds: [3, 1, 2].map(measured), median: measured(2) },
    { name: "b", rounds: [10, 30, 20].map(measured), median: measured(20) },
  ]);
});

it("leaves out what failed and goes on with the others", async () => {
  const log: string[] = [];
  const broken = scripted("broken", [measured(1), { failure: "out of luck" }], log);
  const sound = scripted("sound", [1, 1, 1].map(measured), log);
  const results = await inTurns([broken, sound], 3);
  expect(log).toEqual(["broken", "sound", "broken", "sound", "sound"]);
  expect(results).toEqual([
    { name: "broken", failure: "out of luck" },
    { name: "sound", rounds: [1, 1, 1].map(measured), median: measured(1) },
  ]);
});
