import { resolveModel } from "../../../src/models/options.ts";
import type { FinishedRun } from "../../../src/study/results.ts";
import { trainSchema } from "../../../src/train/options.ts";
import type { EpochRecord, RunData, RunFigures } from "../../../src/train/types.ts";

export const runData: RunData = {
  source: { source: "shapes" },
  name: "shapes",
  fingerprint: "f",
  classes: ["a", "b"],
  image: [16, 16],
  validation: 50,
  normalize: "channel",
};

/** A finished run with made-up figures; accuracies of its epochs rise by a tenth from 0.1 on. */
export function finishedRun(
  variant: string,
  seed: number,
  figures: Partial<RunFigures>,
  epochs = 3,
): FinishedRun {
  const records = Array.from({ length: epochs }, (_, k): EpochRecord => {
    const accuracy = Math.min(1, 0.1 * (k + 1));
    return {
      epoch: k + 1,
      step: 10 * (k + 1),
      lr: 0.1,
      trainLoss: 2 - accuracy,
      trainAccuracy: accuracy,
      validationLoss: 2.2 - accuracy,
      validationAccuracy: accuracy / 2,
    };
  });
  return {
    settings: {
      variant,
      seed,
      model: resolveModel({ name: "resnet14" }, 2),
      data: runData,
      train: trainSchema.parse({ epochs }),
    },
    epochs: records,
    figures: {
      trainAccuracy: 0.9,
      trainLoss: 0.25,
      validationAccuracy: 0.8,
      validationLoss: 0.5,
      testAccuracy: 0.75,
      testLoss: 0.6,
      parameters: 1234,
      statistics: 56,
      multiplyAdds: 7_890_000,
      imagesPerSecond: 321,
      elapsedMs: 3000,
      epochs,
      ...figures,
    },
  };
}
