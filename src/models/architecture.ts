import { z } from "zod";
import { type LayerGraph, layerGraphSchema } from "./layer-graph.ts";
import type { ResNet } from "./resnet.ts";
import { resnetSchema } from "./schema.ts";

/** What a trained model is: one of our ResNets, or layers that came from somebody else's file. */
export type Architecture = ResNet | LayerGraph;

export const isLayerGraph = (model: Architecture): model is LayerGraph => "layers" in model;

/** As model files keep it. */
export const architectureSchema: z.ZodType<Architecture> = z.unknown().transform((value, context) => {
  const layers = typeof value === "object" && value !== null && "layers" in value;
  const parsed = (layers ? layerGraphSchema : resnetSchema).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const { path, message } of parsed.error.issues) context.addIssue({ code: "custom", path, message });
  return z.NEVER;
});
