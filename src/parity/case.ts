import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { roundings, squeezed } from "../attention/spec.ts";
import { floatsOf, readSafetensors, type StoredTensor } from "../formats/safetensors.ts";
import { type ModelOptions, resolveModel } from "../models/options.ts";
import type { ResNet } from "../models/resnet.ts";
import { UserError } from "../tensor/errors.ts";
import { type Shape, sameShape, showShape } from "../tensor/tensor.ts";
import { createOptimizer, type Optimizer } from "../train/optimizers.ts";

const count = z.int().positive();
const counts = z.array(count).min(1);

const caseSchema = z.object({
  name: z.string().optional(),
  architecture: z.object({
    block: z.enum(["bottleneck", "basic"]).default("bottleneck"),
    depths: counts,
    widths: counts,
    strides: counts.optional(),
    expansion: count.optional(),
    stem: z.object({ channels: count, kernel: count, stride: count, pool: z.boolean() }),
    attention: z.string().default("none"),
    reduction: count.default(16),
    placement: z.enum(["all", "identity"]).default("all"),
    classes: count.optional(),
    batch: count.optional(),
    image: z.tuple([count, count]).optional(),
  }),
  /** Of the network, batch statistics not among them. */
  parameters: z.int().optional(),
  batchNorm: z
    .object({ eps: z.number().positive(), momentum: z.number().min(0).max(1) })
    .default({ eps: 1e-5, momentum: 0.1 }),
  /** Where heatmaps are taken. */
  camLayer: z.string().default("layer4"),
  optimizers: z
    .record(z.string(), z.looseObject({ name: z.string().optional(), steps: count.optional() }))
    .default({}),
});

type Description = z.output<typeof caseSchema>;
type Tensors = ReadonlyMap<string, StoredTensor>;

export interface StoredValues {
  readonly shape: Shape;
  readonly values: Float32Array;
}

/** Some steps of an optimiser from the initial state. */
export interface Training {
  /** Prefix of what it must end in, such as `adam3`. */
  readonly key: string;
  readonly optimizer: Optimizer;
  readonly steps: number;
}

/** What another program computed, and all that is needed to compute it again. */
export interface ParityCase {
  readonly name: string;
  readonly folder: string;
  readonly model: ResNet;
  /** Count of the other program. */
  readonly parameters?: number;
  readonly trainings: readonly Training[];
  /** Layer of the heatmaps. */
  readonly camLayer: string;
  /** Parameters and running statistics by name. */
  readonly initial: ReadonlyMap<string, StoredValues>;
  readonly images: Float32Array;
  readonly labels: Float32Array;
  readonly batch: number;
  /** [height, width]. */
  readonly image: readonly [number, number];
  readonly expected: ReadonlyMap<string, StoredValues>;
}

/** Reads a case's folder. @throws UserError of one line, with the path, for anything that is not as it must be. */
export async function readCase(folder: string): Promise<ParityCase> {
  const [description, initial, batch, expected] = await Promise.all([
    readDescription(folder),
    readTensors(folder, "model"),
    readTensors(folder, "batch"),
    readTensors(folder, "expect"),
  ]);
  const model = modelOf(folder, description, initial);
  return {
    name: description.name ?? basename(resolve(folder)),
    folder,
    model,
    parameters: description.parameters,
    camLayer: description.camLayer,
    trainings: Object.entries(description.optimizers).map(([key, given]) => trainingOf(folder, key, given)),
    initial: stored(initial),
    ...batchOf(join(folder, "batch.safetensors"), batch, model, description),
    expected: stored(expected),
  };
}

/** As float32; without PyTorch's counters of batches, which only momentum `None` would read. */
const stored = (tensors: Tensors): Map<string, StoredValues> =>
  new Map(
    [...tensors].flatMap(([name, tensor]) =>
      name.endsWith("num_batches_tracked") ? [] : [[name, { shape: tensor.shape, values: floatsOf(tensor) }]],
    ),
  );

async function readPart(folder: string, file: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, file));
  } catch (error) {
    throw new UserError(
      `${folder}: no case: cannot read ${file} (${(error as NodeJS.ErrnoException).code}); a case holds case.json, model.safetensors, batch.safetensors and expect.safetensors`,
      { cause: error },
    );
  }
}

async function readTensors(folder: string, part: string): Promise<Tensors> {
  const file = `${part}.safetensors`;
  return readSafetensors(await readPart(folder, file), join(folder, file)).tensors;
}

async function readDescription(folder: string): Promise<Description> {
  const path = join(folder, "case.json");
  const text = (await readPart(folder, "case.json")).toString("utf8");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${path}: is not JSON (${(error as Error).message})`, { cause: error });
  }
  const parsed = caseSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UserError(`${path}: ${issue.path.join(".") || "it"}: ${issue.message}`);
}

type Attention = Pick<ModelOptions, "attention" | "attentionOptions">;

/** The words of a case for attention, in ours. */
const attentions: Readonly<Record<string, (reduction: number, initial: Tensors) => Attention>> = {
  none: () => ({ attention: "none" }),
  se: (reduction, initial) => ({ attention: "se", attentionOptions: gate(reduction, initial, 8) }),
  "se-nobias": (reduction, initial) => ({
    attention: "se",
    attentionOptions: { ...gate(reduction, initial, 8), bias: false },
  }),
  cbam: (reduction, initial) => ({ attention: "cbam", attentionOptions: gate(reduction, initial, 1) }),
  eca: () => ({ attention: "eca" }),
};

/** A case does not say how its gates' widths were rounded; timm's differ where the reduction does not divide. */
function gate(reduction: number, initial: Tensors, divisor: number) {
  const gates = [...initial].flatMap(([name, { shape }]) =>
    /\.se\..*\bfc1\.weight$/.test(name) ? [shape] : [],
  );
  const agrees = (rounding: string) =>
    gates.every(([width, channels]) => width === squeezed(channels, reduction, rounding, divisor));
  return { reduction, rounding: roundings.find(agrees) ?? roundings[0] };
}

function modelOf(folder: string, { architecture: a, batchNorm }: Description, initial: Tensors): ResNet {
  const path = join(folder, "case.json");
  if (!Object.hasOwn(attentions, a.attention)) {
    throw new UserError(
      `${path}: architecture.attention "${a.attention}" is not among ${Object.keys(attentions).join(", ")}`,
    );
  }
  const classes = a.classes ?? initial.get("fc.bias")?.shape[0];
  if (classes === undefined) throw new UserError(`${path}: architecture.classes is missing`);
  const { stem, depths, widths, placement } = a;
  const options = {
    ...{ name: a.block === "basic" ? "resnet18" : "resnet50", stem, depths, widths, placement, batchNorm },
    ...{ strides: a.strides ?? depths.map((_, stage) => (stage === 0 ? 1 : 2)), expansion: a.expansion },
  };
  try {
    return resolveModel({ ...options, ...attentions[a.attention](a.reduction, initial) }, classes);
  } catch (error) {
    throw placed(path, error);
  }
}

function trainingOf(folder: string, key: string, given: Description["optimizers"][string]): Training {
  const { name = key.replace(/\d+$/, ""), steps = Number(/\d+$/.exec(key)?.[0] ?? 1), ...settings } = given;
  try {
    return {
      key,
      steps,
      optimizer: createOptimizer({ ...settings, name } as Parameters<typeof createOptimizer>[0]),
    };
  } catch (error) {
    throw placed(`${join(folder, "case.json")}: optimizers.${key}`, error);
  }
}

/** An error about what was asked, with the path in front. */
function placed(path: string, error: unknown): unknown {
  if (error instanceof z.ZodError) {
    const [issue] = error.issues;
    return new UserError(`${path}: ${[...issue.path, issue.message].join(": ")}`);
  }
  return error instanceof UserError ? new UserError(`${path}: ${error.message}`) : error;
}

function batchOf(
  path: string,
  tensors: Tensors,
  { classes }: ResNet,
  { architecture }: Description,
): Pick<ParityCase, "images" | "labels" | "batch" | "image"> {
  const [images, labels] = ["images", "labels"].map((name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new UserError(`${path}: has no tensor ${name}`);
    return { shape: tensor.shape, values: floatsOf(tensor) };
  });
  const [n, channels, height, width] = images.shape;
  if (images.shape.length !== 4 || channels !== 3) {
    throw new UserError(`${path}: images must be [N,3,H,W], are ${showShape(images.shape)}`);
  }
  if (!sameShape(labels.shape, [n])) {
    throw new UserError(
      `${path}: labels ${showShape(labels.shape)} do not fit images ${showShape(images.shape)}`,
    );
  }
  const { image = [height, width], batch = n } = architecture;
  if (!sameShape([batch, ...image], [n, height, width])) {
    throw new UserError(
      `${path}: images are ${showShape(images.shape)}, case.json says ${batch} of ${image.join("×")}`,
    );
  }
  const strange = labels.values.find((label) => !(Number.isInteger(label) && label >= 0 && label < classes));
  if (strange !== undefined) {
    throw new UserError(`${path}: labels hold ${strange}, the model's classes are 0 to ${classes - 1}`);
  }
  return { images: images.values, labels: labels.values, batch: n, image: [height, width] };
}
