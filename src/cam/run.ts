import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { parseAs } from "../files/json.ts";
import {
  type NewTensor,
  readSafetensors,
  type StoredTensor,
  writeSafetensors,
} from "../formats/safetensors.ts";
import { UserError } from "../tensor/errors.ts";
import { isMissing, readText, runPaths } from "../train/run-data.ts";
import { loadTrained } from "../train/trained.ts";
import { Explainer } from "./explainer.ts";
import { gatesOf, meanByClass } from "./gates.ts";
import { judge } from "./judge.ts";
import { methods } from "./methods/registry.ts";
import { type RunScores, scoresSchema } from "./record.ts";
import { normalized, sampleImages, sampleOf } from "./sample.ts";

/** Methods that a study judges; the first is the one its table shows. */
export const STUDY_METHODS = ["grad-cam", "layer-cam", "eigen-cam", "gradients"];

export interface ExplainRunRequest {
  /** Of a finished run. */
  readonly folder: string;
  readonly dataset: Dataset;
  readonly engine: Engine;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

export const camPaths = (folder: string) => ({
  folder: join(folder, "cam"),
  scores: join(folder, "cam", "scores.json"),
  maps: join(folder, "cam", "maps.safetensors"),
  images: join(folder, "cam", "images.safetensors"),
});

/**
 * Explains the sample's images by a finished run and judges the maps: writes cam/maps.safetensors and
 * cam/scores.json, or returns what they hold when they are of these weights and this sample.
 * @throws the signal's reason when it is aborted, UserError as loadTrained.
 */
export async function explainRun(request: ExplainRunRequest): Promise<RunScores> {
  const { folder, dataset, engine, signal, onProgress } = request;
  const sample = sampleOf(dataset);
  const model = createHash("sha256")
    .update(await readFile(runPaths(folder).model))
    .digest("hex");
  const paths = camPaths(folder);
  await makeFolder(paths.folder);
  await removeUnfinished(paths.folder);
  const known = await readRunScores(folder).catch(() => undefined);
  const asked = { sample: sample.join(" "), model, methods: STUDY_METHODS.join(" ") };
  if (known && (await describedAs(paths.maps, asked))) return known;

  const trained = await loadTrained(folder);
  const { images: bytes, labels, masks } = sampleImages(dataset, sample);
  const images = normalized(bytes, dataset.height * dataset.width, trained.normalization);
  const explainer = new Explainer(trained, engine);
  try {
    const layer = explainer.defaultLayer;
    const gates = await gatesOf(explainer, images, signal);
    const wanted = STUDY_METHODS.map((name) => methods.get(name)!);
    const total = sample.length;
    const {
      predicted,
      probability,
      methods: judged,
    } = await judge({
      ...{ trained, explainer, engine, images, masks, methods: wanted, layer, signal },
      onProgress: (fraction) => onProgress?.({ done: Math.round(fraction * total), total }),
    });
    const tensors = new Map<string, NewTensor>();
    for (const { method, height, width, maps } of judged) {
      tensors.set(`map.${method.name}`, { shape: [sample.length, height, width], values: maps });
    }
    for (const gate of gates) {
      const values = meanByClass(gate, [...labels], dataset.classes.length);
      tensors.set(`gate.${gate.layer}`, { shape: [dataset.classes.length, ...gate.shape], values });
    }
    const scores: RunScores = {
      layer,
      images: sample.map((index, k) => ({
        ...{ index, label: labels[k], predicted: predicted[k], probability: probability[k] },
      })),
      methods: Object.fromEntries(judged.map(({ method, scores }) => [method.name, scores])),
    };
    // what is there is of other weights, and would be taken for these maps' if all ended here
    await rm(paths.scores, { force: true });
    await writeDurably(paths.maps, writeSafetensors(tensors, asked));
    // last: where it is, all is there
    await writeDurably(paths.scores, `${JSON.stringify(scores)}\n`);
    return scores;
  } finally {
    explainer.close();
  }
}

/** Writes the sample's images to cam/images.safetensors of the study's folder, where they are not there yet. */
export async function writeSampleImages(studyFolder: string, dataset: Dataset): Promise<void> {
  const paths = camPaths(studyFolder);
  const sample = sampleOf(dataset);
  const asked = { sample: sample.join(" "), data: dataset.fingerprint };
  await makeFolder(paths.folder);
  await removeUnfinished(paths.folder);
  if (await describedAs(paths.images, asked)) return;
  const { images, labels, masks } = sampleImages(dataset, sample);
  const { height, width } = dataset;
  const tensors = new Map<string, NewTensor>([
    ["images", { shape: [sample.length, height, width, 3], dtype: "U8", values: images }],
    ["labels", { shape: [sample.length], dtype: "I32", values: labels }],
  ]);
  if (masks) tensors.set("masks", { shape: [sample.length, height, width], dtype: "U8", values: masks });
  await writeDurably(paths.images, writeSafetensors(tensors, asked));
}

/** cam/scores.json of a run; undefined when there is none. @throws UserError when it is none. */
export async function readRunScores(folder: string): Promise<RunScores | undefined> {
  const path = camPaths(folder).scores;
  const text = await readText(path);
  if (text === undefined) return undefined;
  return parseAs(
    scoresSchema,
    text,
    (problem) =>
      new UserError(`${path}: holds no figures of heatmaps (${problem}): remove it, then compute them anew`),
  );
}

/** Tensors of a file of maps or images; undefined when there is none. @throws DamagedFile. */
export async function readTensors(path: string): Promise<ReadonlyMap<string, StoredTensor> | undefined> {
  return (await readFileOf(path))?.tensors;
}

async function readFileOf(path: string) {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  return bytes && readSafetensors(bytes, path);
}

/** Whether a file is there, whole, and says of itself what is asked. */
async function describedAs(path: string, asked: Readonly<Record<string, string>>): Promise<boolean> {
  const file = await readFileOf(path).catch(() => undefined);
  return file !== undefined && Object.entries(asked).every(([key, value]) => file.metadata[key] === value);
}
