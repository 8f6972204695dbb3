import { expect, test } from "vitest";
import type { Display } from "../../../src/cli/display.ts";
import { Narrator } from "../../../src/cli/progress.ts";
import type { StudyProgress } from "../../../src/study/run.ts";

test("without a terminal a long epoch says every half minute where it is", () => {
  const lines: string[] = [];
  const show: Display = { live: false, bars: () => {}, line: (text) => lines.push(text), clear: () => {} };
  let now = 0;
  const narrator = new Narrator(show, "cifar10", () => now);
  const settings = { variant: "se", seed: 2 } as StudyProgress["settings"];
  const report = (run: StudyProgress["run"]) => narrator.report({ settings, index: 0, runs: 8, run });
  report({ kind: "start", epochs: 3, stepsPerEpoch: 352, resumedStep: 0, bytes: 2 ** 30 });
  for (let step = 1; step <= 100; step++) {
    now += 1000;
    const state = { loss: 2.1, accuracy: 0.25, imagesPerSecond: 128, remainingMs: 600_000 };
    report({ kind: "step", epoch: 1, step, stepsPerEpoch: 352, ...state });
  }
  expect(lines).toEqual([
    "se, seed 2 (run 1 of 8): starts, 3 epochs of 352 steps, 1.0 GiB of memory",
    ...[31, 62, 93].map(
      (step) =>
        `  epoch 1 of 3, step ${step} of 352 · loss 2.100 · acc. 25.0 % · 128 images/s · 10 min 00 s left`,
    ),
  ]);
});
