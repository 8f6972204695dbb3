import { z } from "zod";
import { attentions } from "../attention/registry.ts";
import type { Options } from "../attention/spec.ts";
import { nearest } from "../files/nearest.ts";
import { shorten } from "../files/shorten.ts";
import { kerasBatchNorm, torchBatchNorm } from "../nn/layers.ts";
import { UserError } from "../tensor/errors.ts";
import type { ResNet, Stem } from "./resnet.ts";
import {
  attentionOptionsSchema,
  batchNormSchema,
  count,
  depthsSchema,
  stages,
  stemSchema,
} from "./schema.ts";

type Plan = Pick<ResNet, "block" | "depths" | "widths" | "expansion">;

const bottlenecks = (...depths: number[]): Plan => ({
  block: "bottleneck",
  depths,
  widths: [64, 128, 256, 512],
  expansion: 4,
});
const basics = (...depths: number[]): Plan => ({
  block: "basic",
  depths,
  widths: [64, 128, 256, 512],
  expansion: 1,
});

/** Known models by name (1512.03385, table 1; 14 and 26 as timm has them). */
export const models: Readonly<Record<string, Plan>> = {
  resnet14: bottlenecks(1, 1, 1, 1),
  resnet18: basics(2, 2, 2, 2),
  resnet26: bottlenecks(2, 2, 2, 2),
  resnet34: basics(3, 4, 6, 3),
  resnet50: bottlenecks(3, 4, 6, 3),
  resnet101: bottlenecks(3, 4, 23, 3),
};

/** Known stems by name, with the strides of the stages that go with them. */
export const stems: Readonly<Record<string, Stem & { strides: readonly number[] }>> = {
  cifar: { channels: 64, kernel: 3, stride: 1, pool: false, strides: [1, 2, 2, 2] },
  pooled: { channels: 64, kernel: 3, stride: 1, pool: true, strides: [1, 2, 2, 2] },
  imagenet: { channels: 64, kernel: 7, stride: 2, pool: true, strides: [1, 2, 2, 2] },
  study: { channels: 64, kernel: 7, stride: 1, pool: true, strides: [1, 1, 1, 1] },
};

/** A model as people ask for it: names, and what should differ from them. */
export const modelSchema = z.strictObject({
  name: z.string().default("resnet50"),
  stem: z.union([z.string(), stemSchema]).default("cifar"),
  depths: depthsSchema.optional(),
  widths: stages.optional(),
  strides: stages.optional(),
  expansion: count.optional(),
  attention: z.string().default("none"),
  /** Options of the attention module: reduction, bias, convention … */
  attentionOptions: attentionOptionsSchema.default({}),
  placement: z.enum(["all", "identity"]).default("all"),
  batchNorm: z.union([z.enum(["torch", "keras"]), batchNormSchema]).default("torch"),
  initialization: z.enum(["torch", "keras"]).default("torch"),
  /** A run's folder or a model file whose weights training starts from, taken by name. */
  pretrained: z.string().min(1).optional(),
});

export type ModelOptions = z.input<typeof modelSchema>;

function find<T>(what: string, name: string, table: Readonly<Record<string, T>>): T {
  const found = Object.hasOwn(table, name) ? table[name] : undefined;
  if (found === undefined) throw unknownName(what, name, Object.keys(table));
  return found;
}

/** The one way to say that a name is not known: with the nearest one, and all of them. */
export function unknownName(what: string, name: string, known: readonly string[]): UserError {
  const close = nearest(name, known);
  const hint = close ? `did you mean ${close}? ` : "";
  return new UserError(`unknown ${shorten(what)} "${shorten(name)}": ${hint}There are ${known.join(", ")}`);
}

/** Options of an attention module, defaults filled in. @throws UserError for an unknown module, option or value. */
function resolveAttention(name: string, given: Options): ResNet["attention"] {
  if (name === "none") {
    const [first] = Object.keys(given);
    if (first !== undefined) throw new UserError(`attention none has no options, "${first}" was given`);
    return { name, options: {} };
  }
  const spec = attentions.get(name);
  if (!spec) throw unknownName("attention", name, ["none", ...attentions.keys()]);
  const options: Record<string, number | boolean | string> = { ...spec.options };
  for (const [key, value] of Object.entries(given)) {
    if (!(key in options)) {
      const known = Object.keys(options);
      throw known.length > 0
        ? unknownName(`option of attention ${name}`, key, known)
        : new UserError(`attention ${name} has no options, "${key}" was given`);
    }
    if (typeof value !== typeof options[key]) {
      throw new UserError(
        `attention ${name}: ${key} must be a ${typeof options[key]}, is ${JSON.stringify(value)}`,
      );
    }
    const choices = spec.choices?.[key];
    if (choices && !choices.includes(String(value)))
      throw unknownName(`${key} of attention ${name}`, String(value), choices);
    if (typeof value === "number" && !(Number.isInteger(value) && value > 0)) {
      throw new UserError(`attention ${name}: ${key} must be a whole number above 0, is ${value}`);
    }
    options[key] = value;
  }
  return { name, options };
}

/**
 * The complete model that `options` ask for.
 * @throws UserError naming the nearest known model, stem or attention, or what does not fit together.
 */
export function resolveModel(options: ModelOptions, classes: number): ResNet {
  const o = modelSchema.parse(options);
  const plan = find("model", o.name, models);
  const named = typeof o.stem === "string" ? find("stem", o.stem, stems) : { ...o.stem, strides: undefined };
  const { strides: stemStrides, ...stem } = named;
  const depths = o.depths ?? plan.depths;
  const widths = o.widths ?? (o.depths ? depths.map((_, stage) => plan.widths[0] * 2 ** stage) : plan.widths);
  const strides = o.strides ?? fit(stemStrides ?? stems.cifar.strides, depths.length);
  for (const [key, list] of Object.entries({ widths, strides })) {
    if (list.length !== depths.length) {
      throw new UserError(
        `model ${o.name}: ${depths.length} depths [${depths}] need as many ${key}, has [${list}]`,
      );
    }
  }
  const batchNorm =
    o.batchNorm === "torch" ? torchBatchNorm : o.batchNorm === "keras" ? kerasBatchNorm : o.batchNorm;
  return {
    block: plan.block,
    stem,
    depths,
    widths,
    strides,
    expansion: o.expansion ?? plan.expansion,
    attention: resolveAttention(o.attention, o.attentionOptions),
    placement: o.placement,
    batchNorm,
    initialization: o.initialization,
    classes,
  };
}

const fit = (strides: readonly number[], stages: number) =>
  Array.from({ length: stages }, (_, stage) => strides[stage] ?? strides[strides.length - 1]);
