import { stat } from "node:fs/promises";
import { z } from "zod";
import { attentions } from "../attention/registry.ts";
import type { Normalization } from "../data/dataset.ts";
import type { Store } from "../engine/engine.ts";
import { writeDurably } from "../files/durable.ts";
import { readJsonFile } from "../files/json.ts";
import { shorten } from "../files/shorten.ts";
import { unreadable } from "../files/unreadable.ts";
import { type NewTensor, writeSafetensors } from "../formats/safetensors.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { type Architecture, architectureSchema, isLayerGraph } from "../models/architecture.ts";
import { buildModel } from "../models/build.ts";
import { unknownName } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import type { Variable } from "../tensor/tensor.ts";
import { version } from "./environment.ts";
import { fingerprintedSchema, imageSchema, isMissing, runDataSchema, runPaths } from "./run-data.ts";
import type { Fingerprinted, RunData, RunSettings } from "./types.ts";
import { readWeights, tensorsOf, type Weights } from "./weights.ts";

const triple = z.tuple([z.number(), z.number(), z.number()]);

/** What model.safetensors says about itself beside the tensors, each value as JSON. */
export const trainedFactsSchema = z.object({
  architecture: architectureSchema,
  classes: z.array(z.string()),
  normalization: z.strictObject({ mean: triple, std: triple }),
  image: imageSchema,
  data: runDataSchema.optional(),
  origin: fingerprintedSchema.optional(),
  variant: z.string(),
  seed: z.number().optional(),
  assumed: z.array(z.enum(["classes", "normalization"])).optional(),
});

/** A trained model, and what is needed to use it. */
export interface Trained {
  readonly model: Architecture;
  readonly classes: readonly string[];
  readonly normalization: Normalization;
  /** [height, width]. */
  readonly image: readonly [number, number];
  /** What it was trained on; absent where it was trained elsewhere. */
  readonly data?: RunData;
  /** The file of somebody else's that it was taken from. */
  readonly origin?: Fingerprinted;
  readonly variant: string;
  /** Of a run of ours. */
  readonly seed?: number;
  /** What the file it came from does not say. */
  readonly assumed?: readonly ("classes" | "normalization")[];
  /** Parameters and running statistics by their torchvision names. */
  readonly weights: Weights;
}

type Facts = Omit<Trained, "weights">;

/** Parameters and running statistics of a model, without an optimiser's slots. */
export const keptVariables = (variables: Iterable<Variable>): Variable[] =>
  [...variables].filter(({ kind }) => kind !== "slot");

/** What model files say beside the weights, always in this order. */
export function factsOf(trained: Facts) {
  const {
    model: architecture,
    classes,
    normalization,
    image,
    data,
    origin,
    variant,
    seed,
    assumed,
  } = trained;
  return {
    ...{ architecture, classes, normalization, image, data, origin, variant, seed, assumed },
    atento: version,
  };
}

/** The same as texts, each JSON. */
export function metadataOf(trained: Facts): Record<string, string> {
  const said = Object.entries(factsOf(trained)).filter(([, value]) => value !== undefined);
  return Object.fromEntries(said.map(([key, value]) => [key, JSON.stringify(value)]));
}

/** Writes model.safetensors: the store's parameters and statistics, and in its metadata all that goes with them. */
export async function saveTrained(
  path: string,
  store: Store,
  { model, data, variant, seed }: RunSettings,
  normalization: Normalization,
): Promise<void> {
  const { classes, image } = data;
  const tensors = tensorsOf(store, keptVariables(store.variables.values()));
  await writeModel(path, tensors, { model, classes, normalization, image, data, variant, seed });
}

/** Writes a trained model as `saveTrained` does: equal models give equal bytes. */
export async function writeTrained(trained: Trained, path: string): Promise<void> {
  const tensors = variablesOf(trained).map(({ name, shape }): [string, NewTensor] => [
    name,
    { shape, values: trained.weights.get(name)! },
  ]);
  await writeModel(path, new Map(tensors), trained);
}

/** Parameters and running statistics of a model. @throws ShapeError when its layers do not fit together. */
export function variablesOf({ model, image }: Pick<Trained, "model" | "image">): Variable[] {
  const variables = new Variables(0);
  buildModel(model, variables, { batch: 1, image, training: false });
  return variables.all();
}

const COUNTED = /\.running_mean$/;

/** PyTorch counts batches beside running statistics, and momentum needs no count: 0, as in a fresh layer. */
async function writeModel(path: string, tensors: Map<string, NewTensor>, facts: Facts): Promise<void> {
  for (const name of [...tensors.keys()].filter((key) => COUNTED.test(key))) {
    const count = { shape: [], dtype: "I64", values: BigInt64Array.of(0n) } as const;
    tensors.set(name.replace(COUNTED, ".num_batches_tracked"), count);
  }
  await writeDurably(path, writeSafetensors(tensors, { format: "pt", ...metadataOf(facts) }));
}

/**
 * The trained model of a run's folder or of a model.safetensors.
 * @throws UserError when there is none, or when its tensors do not fit its architecture, listing them.
 */
export async function loadTrained(path: string): Promise<Trained> {
  return SafetensorsFile.with(await modelFile(path), (opened) =>
    trainedOf(opened.path, opened.header.metadata, (variables) => readWeights(opened, variables)),
  );
}

/**
 * The trained model that a file's metadata describe, with weights that `read` finds for its variables.
 * @throws UserError when the metadata do not describe one.
 */
export async function trainedOf(
  file: string,
  metadata: Readonly<Record<string, string>>,
  read: (variables: readonly Variable[]) => Promise<Weights>,
): Promise<Trained> {
  const { architecture: model, ...facts } = readMetadata(file, metadata);
  const name = isLayerGraph(model) ? "none" : model.attention.name;
  if (name !== "none" && !attentions.has(name)) {
    throw new UserError(`${file}: ${unknownName("attention", name, ["none", ...attentions.keys()]).message}`);
  }
  if (model.classes !== facts.classes.length) {
    throw new UserError(
      `${file}: its architecture has ${model.classes} classes, ${facts.classes.length} are named`,
    );
  }
  const variables = inFile(file, () => variablesOf({ model, image: facts.image }));
  return { ...facts, model, weights: await read(variables) };
}

/** Layers of a file that do not fit together are a mistake of the file. */
function inFile<T>(file: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${file}: ${error.message}`) : error;
  }
}

/** The model file of a run's folder, or the file itself. @throws UserError when there is none. */
export async function modelFile(path: string): Promise<string> {
  const entry = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error))
      throw new UserError(
        `${path}: there is no such run or model file: expected a folder such as runs/quick/se/seed-1, or a file`,
      );
    throw unreadable(path, error);
  });
  if (!entry.isDirectory()) return path;
  const { model, run } = runPaths(path);
  const exists = await stat(model).then(
    () => true,
    () => false,
  );
  if (exists) return model;
  const status = z.object({ status: z.string() }).safeParse(await readJsonFile(run));
  throw new UserError(
    status.success
      ? `${path}: the run is not finished (${shorten(status.data.status)}): atento resume ${path}`
      : `${path}: holds no run: expected a folder with run.json and model.safetensors, or a .safetensors file`,
  );
}

function readMetadata(file: string, metadata: Readonly<Record<string, string>>) {
  if (metadata["architecture"] === undefined) {
    throw new UserError(
      `${file}: has no architecture in its metadata, as the model files of a run have: atento import takes those of PyTorch, timm and torchvision`,
    );
  }
  const facts = Object.entries(metadata).flatMap(([key, text]): [string, unknown][] => {
    try {
      return [[key, JSON.parse(text)]];
    } catch {
      return []; // words of somebody else; what is needed will be missed below
    }
  });
  const parsed = trainedFactsSchema.safeParse(Object.fromEntries(facts));
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0];
  throw new UserError(`${file}: metadata ${shorten(`${path.join(".")}: ${message}`)}`);
}
