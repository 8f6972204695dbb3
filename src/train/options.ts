import { z } from "zod";
import { augmentationSchema } from "../data/schema.ts";
import { monitorSchema } from "./monitor.ts";
import { optimizerSchema } from "./optimizers.ts";
import { scheduleSchema } from "./schedules.ts";

const warmupSchema = z.union([
  z.number().min(0),
  z.strictObject({ epochs: z.number().positive() }),
  z.strictObject({ steps: z.int().positive() }),
]);

const earlyStoppingSchema = z.strictObject({
  /** Epochs without improvement after which training ends. */
  patience: z.int().positive().default(10),
  /** Change that counts as an improvement. */
  minDelta: z.number().min(0).default(0),
  /** validationLoss by default, trainLoss when nothing is held back. */
  monitor: monitorSchema.optional(),
  /** Ends with the weights of the best epoch instead of those of the last. */
  restoreBest: z.boolean().default(true),
});

/** `train` of a study file. */
export const trainSchema = z
  .strictObject({
    epochs: z.int().positive().default(30),
    batch: z.int().positive().default(128),
    optimizer: optimizerSchema.default({
      name: "sgd",
      lr: 0.1,
      momentum: 0.9,
      nesterov: true,
      weightDecay: 5e-4,
    }),
    schedule: scheduleSchema.default({ name: "cosine", min: 0 }),
    /** In which the rate rises linearly: epochs, `{ epochs }` or `{ steps }`. */
    warmup: warmupSchema.default(0),
    labelSmoothing: z.number().min(0).lt(1).default(0),
    augment: augmentationSchema.default({}),
    earlyStopping: earlyStoppingSchema.optional(),
    /** Layers that are not trained and stay in evaluation mode: `stem`, `layer1` … */
    freeze: z.array(z.string().min(1)).min(1).optional(),
    /** Rate of all but the last layer, as a share of the rate. */
    bodyRate: z.number().positive().max(1).optional(),
  })
  .superRefine(({ epochs, optimizer, schedule, warmup }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    const warmupEpochs = typeof warmup === "number" ? warmup : "epochs" in warmup ? warmup.epochs : 0;
    if (warmupEpochs > 0 && warmupEpochs >= epochs)
      refuse(["warmup"], `must be shorter than the ${epochs} epochs`);
    if (schedule.name === "one-cycle" && warmup !== 0) {
      refuse(
        ["warmup"],
        "does not go with schedule one-cycle, which begins with a warm-up of its own (pctStart)",
      );
    }
    if ("min" in schedule && schedule.min > optimizer.lr) {
      refuse(["schedule", "min"], `must not be above the optimizer's lr ${optimizer.lr}`);
    }
  });

/** Steps of the warm-up. */
export function warmupSteps(warmup: z.output<typeof warmupSchema>, stepsPerEpoch: number): number {
  if (typeof warmup === "object" && "steps" in warmup) return warmup.steps;
  return Math.round((typeof warmup === "number" ? warmup : warmup.epochs) * stepsPerEpoch);
}
