import { z } from "zod";
import type { Batch } from "../data/loader.ts";
import type { EpochRecord, EpochTiming, Evaluation } from "./types.ts";

const count = z.int().min(0);

/** A line of metrics.jsonl. */
export const epochRecordSchema: z.ZodType<EpochRecord> = z.strictObject({
  epoch: count,
  step: count,
  lr: z.number(),
  trainLoss: z.number(),
  trainAccuracy: z.number(),
  validationLoss: z.number().optional(),
  validationAccuracy: z.number().optional(),
});

/** A line of timings.jsonl. */
export const epochTimingSchema: z.ZodType<EpochTiming> = z.strictObject({
  epoch: count,
  elapsedMs: z.number(),
  imagesPerSecond: z.number(),
});

/** Sums over the batches of an epoch: losses weighted by images, correct predictions, images. */
export const sumsSchema = z.strictObject({ loss: z.number(), correct: count, images: count });

export type Sums = z.output<typeof sumsSchema>;

export const noSums: Sums = { loss: 0, correct: 0, images: 0 };

/** The sums with another batch: its mean loss, its logits [N,K]. */
export function addBatch(
  sums: Sums,
  { labels, count }: Batch,
  outputs: { readonly loss: number; readonly logits: Float32Array },
): Sums {
  const predicted = predictedClasses(outputs.logits, count);
  return {
    loss: sums.loss + outputs.loss * count,
    correct: sums.correct + predicted.filter((label, row) => label === labels[row]).length,
    images: sums.images + count,
  };
}

/** Index of the largest logit of each row, the first of equals. logits [N,K] → [N]. */
export function predictedClasses(logits: Float32Array, rows: number): number[] {
  const classes = logits.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let k = 1; k < classes; k++) {
      if (logits[row * classes + k] > logits[row * classes + best]) best = k;
    }
    return best;
  });
}

/** The figures of predictions. @param lossSum of all images; a class without images has accuracy 0. */
export function evaluationOf(
  classes: readonly string[],
  labels: readonly number[],
  predictions: readonly number[],
  lossSum: number,
): Evaluation {
  const confusion = classes.map(() => classes.map(() => 0));
  labels.forEach((label, i) => {
    confusion[label][predictions[i]]++;
  });
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const right = classes.map((_, label) => confusion[label][label]);
  return {
    count: labels.length,
    loss: lossSum / labels.length,
    accuracy: sum(right) / labels.length,
    perClass: classes.map((name, label) => {
      const count = sum(confusion[label]);
      return { name, count, accuracy: count > 0 ? right[label] / count : 0 };
    }),
    confusion,
    predictions,
    labels,
  };
}
