import { z } from "zod";
import type { ResNet } from "./resnet.ts";

export const count = z.int().positive();
/** A list a stage; blocks beyond a thousand a stage are a slip of the pen, not a model. */
export const stages = z.array(count).min(1).max(8);
export const depthsSchema = z.array(count.max(1000)).min(1).max(8);

export const stemSchema = z.strictObject({
  channels: count,
  kernel: count,
  stride: count,
  pool: z.boolean(),
});

/** Options of an attention module. */
export const attentionOptionsSchema = z.record(z.string(), z.union([z.number(), z.boolean(), z.string()]));

export const batchNormSchema = z.strictObject({
  eps: z.number().positive(),
  momentum: z.number().min(0).max(1),
});

/** A complete model, as run.json and model files keep it. */
export const resnetSchema: z.ZodType<ResNet> = z
  .strictObject({
    block: z.enum(["bottleneck", "basic"]),
    stem: stemSchema,
    depths: depthsSchema,
    widths: stages,
    strides: stages,
    expansion: count,
    attention: z.strictObject({ name: z.string(), options: attentionOptionsSchema }),
    placement: z.enum(["all", "identity"]),
    batchNorm: batchNormSchema,
    initialization: z.enum(["torch", "keras"]).default("torch"),
    classes: count,
  })
  .superRefine(({ depths, widths, strides }, context) => {
    for (const [path, list] of Object.entries({ widths, strides })) {
      if (list.length === depths.length) continue;
      const message = `${list.length} given for ${depths.length} depths`;
      context.addIssue({ code: "custom", path: [path], message });
    }
  });
