import { z } from "zod";
import { optimizerSchema } from "./optimizers.ts";

/** Placeholder of the full schema; the trainer's author completes it. */
export const trainSchema = z.strictObject({
  epochs: z.int().positive().default(30),
  batch: z.int().positive().default(128),
  optimizer: optimizerSchema.default({ name: "sgd", lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4 }),
});
