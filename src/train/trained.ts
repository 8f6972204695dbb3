import { stat } from "node:fs/promises";
import { z } from "zod";
import { attentions } from "../attention/registry.ts";
import type { Dataset, Normalization } from "../data/dataset.ts";
import type { Engine, Store } from "../engine/engine.ts";
import { writeDurably } from "../files/durable.ts";
import { shorten } from "../files/shorten.ts";
import { type NewTensor, writeSafetensors } from "../formats/safetensors.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { type Architecture, architectureSchema, isLayerGraph } from "../models/architecture.ts";
import { buildModel } from "../models/build.ts";
import { unknownName } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import type { Variable } from "../tensor/tensor.ts";
import { version } from "./environment.ts";
import { evaluate, Programs } from "./evaluate.ts";
import { evaluationGraph } from "./graphs.ts";
import { expectData, loadInOrder, partsOf } from "./parts.ts";
import { imageSchema, isMissing, readRunFile, runDataSchema, runPaths } from "./run-folder.ts";
import type { Evaluation, RunData, RunProgress, RunSettings } from "./types.ts";
import { readWeights, tensorsOf, type Weights, writeWeights } from "./weights.ts";

const triple = z.tuple([z.number(), z.number(), z.number()]);

/** What model.safetensors says about itself beside the tensors, each value as JSON. */
export const trainedFactsSchema = z.object({
  architecture: architectureSchema,
  classes: z.array(z.string()),
  normalization: z.strictObject({ mean: triple, std: triple }),
  image: imageSchema,
  data: runDataSchema.optional(),
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
  /** What it was trained on, where that is known. */
  readonly data?: RunData;
  readonly variant: string;
  /** Of a run of ours. */
  readonly seed?: number;
  /** What the file it came from does not say. */
  readonly assumed?: readonly ("classes" | "normalization")[];
  /** Parameters and running statistics by their torchvision names. */
  readonly weights: Weights;
}

/** Parameters and running statistics of a model, without an optimiser's slots. */
export const keptVariables = (variables: Iterable<Variable>): Variable[] =>
  [...variables].filter(({ kind }) => kind !== "slot");

/** Writes model.safetensors: the store's parameters and statistics, and in its metadata all that goes with them. */
export async function saveTrained(
  path: string,
  store: Store,
  { model, data, variant, seed }: RunSettings,
  normalization: Normalization,
): Promise<void> {
  const { classes, image } = data;
  const tensors = tensorsOf(store, keptVariables(store.variables.values()));
  await writeModelFile(path, { model, classes, normalization, image, data, variant, seed }, tensors);
}

/** Writes a trained model, wherever it came from, as model.safetensors. */
export async function writeTrained(path: string, { weights, ...facts }: Trained): Promise<void> {
  const tensors = variablesOf(facts).map(
    ({ name, shape }) => [name, { shape, values: weights.get(name)! }] as const,
  );
  await writeModelFile(path, facts, new Map(tensors));
}

async function writeModelFile(
  path: string,
  { model, ...facts }: Omit<Trained, "weights">,
  tensors: ReadonlyMap<string, NewTensor>,
): Promise<void> {
  const entries = Object.entries({ architecture: model, ...facts, atento: version });
  const metadata = entries.flatMap(([key, value]) =>
    value === undefined ? [] : [[key, JSON.stringify(value)]],
  );
  await writeDurably(path, writeSafetensors(tensors, Object.fromEntries(metadata)));
}

/** Parameters and running statistics of a model. @throws ShapeError when its layers do not fit together. */
export function variablesOf({ model, image }: Pick<Trained, "model" | "image">): Variable[] {
  const variables = new Variables(0);
  buildModel(model, variables, { batch: 1, image, training: false });
  return variables.all();
}

/**
 * The trained model of a run's folder or of a model.safetensors.
 * @throws UserError when there is none, or when its tensors do not fit its architecture, listing them.
 */
export async function loadTrained(path: string): Promise<Trained> {
  const file = await modelFile(path);
  return SafetensorsFile.with(file, readTrained);
}

async function readTrained(opened: SafetensorsFile): Promise<Trained> {
  const { path: file, header } = opened;
  const { architecture: model, ...facts } = readMetadata(file, header.metadata);
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
  return { ...facts, model, weights: await readWeights(opened, variables) };
}

/** Layers of a file that do not fit together are a mistake of the file. */
function inFile<T>(file: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${file}: ${error.message}`) : error;
  }
}

async function modelFile(path: string): Promise<string> {
  const entry = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error)) throw new UserError(`${path}: there is no such run or model file`);
    throw new UserError(`${path}: cannot be read (${error.message})`);
  });
  if (!entry.isDirectory()) return path;
  const { model } = runPaths(path);
  const exists = await stat(model).then(
    () => true,
    () => false,
  );
  if (exists) return model;
  const run = await readRunFile(path);
  throw new UserError(
    run
      ? `${path}: the run is not finished (${run.status}): atento resume ${path}`
      : `${path}: holds no run: expected a folder with run.json and model.safetensors, or a .safetensors file`,
  );
}

function readMetadata(file: string, metadata: Readonly<Record<string, string>>) {
  if (metadata["architecture"] === undefined) {
    throw new UserError(`${file}: has no architecture in its metadata, as the model files of a run have`);
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

export interface EvaluateRequest {
  /** A run's folder or a model.safetensors. */
  readonly path: string;
  readonly dataset: Dataset;
  readonly engine: Engine;
  /** The test set by default; validation and training parts are those the run had. */
  readonly part?: "test" | "validation" | "train";
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RunProgress) => void;
}

/**
 * Evaluates a trained model on a data set of its classes and image size.
 * @throws UserError as loadTrained, and when the data do not fit or the part asked for is empty.
 */
export async function evaluateRun(request: EvaluateRequest): Promise<Evaluation> {
  return evaluateTrained(await loadTrained(request.path), request);
}

/** The same of a model that is loaded; the path is for errors. */
export async function evaluateTrained(
  { model, classes, image, normalization, data, weights }: Trained,
  { path, dataset, engine, part: name = "test", batch = 64, signal, onProgress }: EvaluateRequest,
): Promise<Evaluation> {
  expectData(path, { classes, image }, dataset);
  if (name !== "test" && dataset.fingerprint !== data?.fingerprint) {
    throw new UserError(
      `${path}: which images served for ${name} is known only of the data it was trained on`,
    );
  }
  const part = partsOf(name === "test" || !data ? { validation: 0 } : data, dataset)[name];
  if (!part) throw new UserError(`${path}: nothing was held back to validate: evaluate on test or train`);
  const variables = new Variables(0);
  buildModel(model, variables, { batch, image, training: false });
  const store = engine.open(variables.all());
  const loader = loadInOrder(part, dataset, batch, normalization);
  try {
    writeWeights(store, weights);
    const programs = new Programs(store, (size) => evaluationGraph(model, variables, { batch: size, image }));
    return await evaluate({ programs, loader, count: part.count, classes, signal, onProgress });
  } finally {
    await loader.close();
    store.close();
  }
}
