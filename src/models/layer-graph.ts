import { z } from "zod";
import { shorten } from "../files/shorten.ts";
import { batchNormSchema, count } from "./schema.ts";

/** [height, width]. */
const pair = z.tuple([count, count]);
const margin = z.int().min(0);

/** `same` as TensorFlow has it: ⌈in/stride⌉ results, an odd number of padded lines has one more at the end. */
const padding = z.enum(["valid", "same"]);

const layer = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  z.strictObject({
    kind: z.literal(kind),
    /** Where its parameters and its output are found. */
    name: z.string().min(1),
    /** Names of layers before it, or `images`. */
    inputs: z.array(z.string()).min(1),
    /** The layer whose parameters it shares, if not its own. */
    weightsOf: z.string().optional(),
    ...shape,
  });

const layerSchema = z.discriminatedUnion("kind", [
  layer("conv", { filters: count, kernel: pair, stride: pair, padding, bias: z.boolean() }),
  /** Over the channels of every pixel. */
  layer("dense", { units: count, bias: z.boolean() }),
  layer("batchNorm", { ...batchNormSchema.shape, scale: z.boolean(), center: z.boolean() }),
  layer("activation", {
    function: z.enum(["linear", "relu", "relu6", "leakyRelu", "sigmoid", "tanh", "silu"]),
    /** Of leakyRelu below 0. */
    slope: z.number().optional(),
  }),
  /** Zeros: [top, bottom], [left, right]. */
  layer("zeroPadding", { margins: z.tuple([z.tuple([margin, margin]), z.tuple([margin, margin])]) }),
  layer("pool", { mode: z.enum(["max", "average"]), kernel: pair, stride: pair, padding }),
  layer("globalPool", { mode: z.enum(["max", "average"]) }),
  layer("merge", { function: z.enum(["add", "subtract", "multiply", "average"]) }),
  layer("concat", { axis: z.enum(["height", "width", "channel"]) }),
  /** The elements in the order height, width, channel, under other extents; one may be −1. */
  layer("reshape", { shape: z.tuple([z.int(), z.int(), z.int()]) }),
  /** Which of height, width, channel (0, 1, 2) each of them becomes. */
  layer("permute", { order: z.tuple([z.int(), z.int(), z.int()]) }),
  /** Nothing in evaluation. */
  layer("dropout", { rate: z.number().min(0).lt(1) }),
  /** scale·x + offset. */
  layer("rescale", { scale: z.number(), offset: z.number() }),
]);

export type Layer = z.output<typeof layerSchema>;
export type LayerOf<K extends Layer["kind"]> = Extract<Layer, { kind: K }>;

/** The name of what is fed. */
export const IMAGES = "images";

const MANY = ["merge", "concat"];

/** Stock layers, each after those it reads: what other programs' model files hold. */
export interface StockLayers {
  readonly layers: readonly Layer[];
  /** The layer whose result is the model's. */
  readonly output: string;
}

/** A network as stock layers that give logits. */
export interface LayerGraph extends StockLayers {
  readonly classes: number;
}

const shape = { layers: z.array(layerSchema).min(1).max(10_000), output: z.string() };

function expectOrder({ layers, output }: StockLayers, context: z.core.$RefinementCtx): void {
  const known = new Map<string, Layer | undefined>([[IMAGES, undefined]]);
  layers.forEach((layer, k) => {
    const { name, kind, inputs, weightsOf } = layer;
    const refuse = (problem: string) =>
      context.addIssue({ code: "custom", path: ["layers", k], message: `${shorten(name)} ${problem}` });
    if (known.has(name)) refuse("is the name of a layer before it");
    for (const source of inputs) {
      if (!known.has(source)) refuse(`reads ${shorten(source)}, which is no layer before it`);
    }
    if (inputs.length > 1 && !MANY.includes(kind)) refuse(`has ${inputs.length} inputs, ${kind} takes one`);
    if (weightsOf !== undefined && known.get(weightsOf)?.kind !== kind) {
      refuse(`shares the weights of ${shorten(weightsOf)}, which is no ${kind} before it`);
    }
    known.set(name, layer);
  });
  if (!known.has(output)) {
    context.addIssue({ code: "custom", path: ["output"], message: `there is no layer ${shorten(output)}` });
  }
}

export const stockLayersSchema: z.ZodType<StockLayers> = z.strictObject(shape).superRefine(expectOrder);

export const layerGraphSchema: z.ZodType<LayerGraph> = z
  .strictObject({ ...shape, classes: count })
  .superRefine(expectOrder);
