import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { Header } from "tar";
import { decodePhotograph } from "../cam/images.ts";
import { decodeImages } from "../data/decode.ts";
import type { ImageFiles } from "../data/imageFiles.ts";
import { Pack, readPack } from "../data/pack.ts";
import { parseBatch, parseClassNames } from "../data/sources/cifar10.ts";
import { allocateSplit } from "../data/split.ts";
import { readTar } from "../data/tar.ts";
import { createEngine } from "../engine/create.ts";
import { importModel } from "../exchange/import.ts";
import { parseModel } from "../exchange/keras/config.ts";
import { graphOf } from "../exchange/keras/graph.ts";
import { readKeras, readKerasWeights } from "../exchange/keras/read.ts";
import { holdersOf } from "../exchange/keras/weights.ts";
import { writeKeras } from "../exchange/keras/write.ts";
import { readOnnx } from "../exchange/onnx/read.ts";
import { encodeOnnx } from "../exchange/onnx/write.ts";
import { parseHdf5 } from "../formats/hdf5.ts";
import { floatsOf, readSafetensors, valuesOf, writeSafetensors } from "../formats/safetensors.ts";
import { writeSealed } from "../formats/sealed.ts";
import { resolveModel } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { heatmapsOf, readScores } from "../report/heatmaps.ts";
import { type RunRecord, readStudyFile } from "../report/study-record.ts";
import { studyFileOf } from "../study/folder.ts";
import { parseStudy } from "../study/study.ts";
import type { Variable } from "../tensor/tensor.ts";
import { readCheckpoint } from "../train/checkpoint-file.ts";
import { evaluationGraph } from "../train/graphs.ts";
import { trainSchema } from "../train/options.ts";
import { readMetrics, readRunFile, readTest } from "../train/run-folder.ts";
import { initialState } from "../train/state.ts";
import { loadTrained, saveTrained, type Trained } from "../train/trained.ts";
import type { RunSettings } from "../train/types.ts";

/** A reader of files that anybody may have written. */
export interface Target {
  readonly name: string;
  /** Files as they should be, to begin from. */
  readonly seeds: readonly Buffer[];
  /** Reads such a file. @throws UserError where it is not as it should be. */
  read(bytes: Buffer): Promise<unknown>;
}

const settings: RunSettings = {
  variant: "se",
  seed: 1,
  model: resolveModel(
    {
      name: "resnet14",
      depths: [1],
      widths: [2],
      expansion: 2,
      attention: "se",
      attentionOptions: { reduction: 2 },
    },
    2,
  ),
  data: {
    source: { source: "folder", path: "photos" },
    name: "photos",
    fingerprint: "f".repeat(64),
    classes: ["cat", "dog"],
    image: [8, 8],
    validation: 4,
    normalize: "channel",
  },
  train: trainSchema.parse({ epochs: 3, schedule: "plateau", earlyStopping: {}, augment: ["crop", "flip"] }),
};

function modelVariables(): Variable[] {
  const variables = new Variables(1);
  evaluationGraph(settings.model, variables, { batch: 1, image: settings.data.image });
  return variables.all();
}

/** Targets that keep their files in a folder. */
export async function makeTargets(folder: string): Promise<Target[]> {
  const made = [safetensors(), await checkpoint(folder), await model(folder), ...run(folder)];
  made.push(await onnxModel(folder), await stateDict(folder), ...(await kerasFiles(folder)));
  return [
    ...made,
    ...[tar(folder), await images(), await pack(folder), study(), cifar10()],
    ...[...reported(folder), await photograph()],
  ];
}

async function photograph(): Promise<Target> {
  const pixels = { create: { width: 23, height: 17, channels: 3 as const, background: "#336699" } };
  return {
    name: "photograph to explain",
    seeds: [await sharp(pixels).jpeg().toBuffer(), await sharp(pixels).png().toBuffer()],
    read: (bytes) => decodePhotograph(bytes, "photo.jpg", [8, 8], 16),
  };
}

function safetensors(): Target {
  const tensors = new Map([
    ["a.weight", { shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    ["b", { shape: [0], values: new Float32Array(0) }],
    ["count", { shape: [], dtype: "I64" as const, values: BigInt64Array.of(7n) }],
  ]);
  return {
    name: "safetensors",
    seeds: [
      Buffer.from(writeSafetensors(tensors, { format: "pt" })),
      Buffer.from(writeSafetensors(new Map())),
    ],
    read: async (bytes) => {
      const { tensors } = readSafetensors(bytes);
      for (const tensor of tensors.values()) valuesOf(tensor);
    },
  };
}

async function checkpoint(folder: string): Promise<Target> {
  const path = join(folder, "step.safetensors");
  const variables = modelVariables();
  const file = await open(path, "w");
  const tensors = new Map(variables.map(({ name, shape }) => [name, { shape }]));
  const metadata = { format: "atento-checkpoint-2", state: JSON.stringify(initialState(settings.train)) };
  const sizes = new Map(variables.map(({ name, shape }) => [name, shape.reduce((a, b) => a * b, 1)]));
  await writeSealed(file, tensors, metadata, (name) => new Float32Array(sizes.get(name)!));
  await file.close();
  return {
    name: "checkpoint",
    seeds: [readFileSync(path)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      await readCheckpoint(path, variables);
    },
  };
}

async function model(folder: string): Promise<Target> {
  const path = join(folder, "model.safetensors");
  const store = createEngine({ engine: "reference" }).open(modelVariables());
  await saveTrained(path, store, settings, { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2] });
  const whole = readFileSync(path);
  const head = 8 + Number(whole.readBigUInt64LE());
  return {
    name: "model file",
    seeds: [whole],
    read: async (bytes) => {
      // half of them with the length their header has, so that what it says is looked at
      if (bytes.length > 8 && bytes[bytes.length - 1] % 2 === 0) {
        const change = bytes.length - whole.length;
        bytes.writeBigUInt64LE(BigInt(Math.max(0, head - 8 + change)));
      }
      writeFileSync(path, bytes);
      await loadTrained(path);
    },
  };
}

/** The fuzzed model's file in another form. */
async function written(folder: string, name: string): Promise<Trained> {
  const path = join(folder, name);
  const store = createEngine({ engine: "reference" }).open(modelVariables());
  await saveTrained(path, store, settings, { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2] });
  return loadTrained(path);
}

async function onnxModel(folder: string): Promise<Target> {
  const path = join(folder, "model.onnx");
  const model = encodeOnnx(await written(folder, "for-onnx.safetensors"));
  return {
    name: "ONNX model",
    seeds: [Buffer.from(model)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      await readOnnx(path);
    },
  };
}

async function stateDict(folder: string): Promise<Target> {
  const path = join(folder, "dict.safetensors");
  await written(folder, "for-dict.safetensors");
  const { tensors } = readSafetensors(readFileSync(join(folder, "for-dict.safetensors")));
  const copy = new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, values: floatsOf(tensor) }] as const),
  );
  return {
    name: "state dict",
    seeds: [Buffer.from(writeSafetensors(copy))],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      await importModel(path, { image: [8, 8] });
    },
  };
}

/** After `model`: its file is what is written as Keras'. */
async function kerasFiles(folder: string): Promise<Target[]> {
  const trained = await loadTrained(join(folder, "model.safetensors"));
  const [whole, weights] = [join(folder, "model.h5"), join(folder, "weights.h5")];
  await writeKeras(trained, whole, { weightsOnly: false });
  await writeKeras(trained, weights, { weightsOnly: true });
  const target = (name: string, path: string, read: () => Promise<unknown>): Target => ({
    name,
    seeds: [readFileSync(path)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      await read();
    },
  });
  const config = parseHdf5(readFileSync(whole), whole).text("model_config")!;
  return [
    target("Keras model", whole, () => readKeras(whole)),
    target("Keras weights", weights, () => readKerasWeights(weights, trained)),
    {
      name: "model_config",
      seeds: [Buffer.from(config)],
      read: async (bytes) => {
        const { model } = graphOf(parseModel(bytes.toString("utf8"), "x.h5"), "x.h5");
        holdersOf(model, [8, 8]);
      },
    },
  ];
}

function run(folder: string): Target[] {
  const at = (name: string) => join(folder, name);
  const record = {
    ...{ atento: "0.1.0", settings, environment: { node: "v20" }, status: "interrupted" },
    startedAt: new Date(0).toISOString(),
  };
  const epoch = { epoch: 1, step: 4, lr: 0.1, trainLoss: 2, trainAccuracy: 0.5 };
  const test = {
    ...{ count: 2, loss: 1, accuracy: 0.5, perClass: [{ name: "cat", count: 2, accuracy: 0.5 }] },
    ...{ confusion: [[1, 1]], predictions: [0, 1] },
  };
  const target = (name: string, value: object, read: (folder: string) => Promise<unknown>): Target => ({
    name,
    seeds: [Buffer.from(JSON.stringify(value))],
    read: async (bytes) => {
      writeFileSync(at(name), bytes);
      await read(folder);
    },
  });
  return [
    target("run.json", record, readRunFile),
    target("metrics.jsonl", epoch, readMetrics),
    target("test.json", test, readTest),
  ];
}

function tarOf(members: readonly (readonly [path: string, bytes: Uint8Array])[]): Buffer {
  const blocks = members.flatMap(([path, bytes]) => {
    const header = Buffer.alloc(512);
    new Header({ path, size: bytes.length, mode: 0o644, type: "File" }).encode(header, 0);
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function tar(folder: string): Target {
  const path = join(folder, "images.tar");
  const plain = tarOf([
    ["cat/1.png", Buffer.alloc(700, 7)],
    ["cat/2.png", Buffer.alloc(0)],
    ["dog/3.png", Buffer.from("dog")],
  ]);
  return {
    name: "tar",
    seeds: [plain, gzipSync(plain)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      for await (const _ of readTar(path, () => true));
    },
  };
}

async function images(): Promise<Target> {
  const pixels = Buffer.from(Array.from({ length: 12 * 10 * 3 }, (_, i) => (i * 37) % 256));
  const make = () => sharp(pixels, { raw: { width: 12, height: 10, channels: 3 } });
  const seeds = await Promise.all(
    [make().png(), make().jpeg(), make().webp(), make().gif(), make().tiff()].map((image) =>
      image.toBuffer(),
    ),
  );
  const only = (bytes: Buffer): ImageFiles => ({
    path: "images",
    stamp: async () => "",
    list: async () => ({ files: [], directories: [] }),
    read: async function* () {
      yield { path: "x.png", bytes: async () => bytes };
    },
  });
  return {
    name: "images",
    seeds,
    read: (bytes) =>
      decodeImages(only(bytes), [{ path: "x.png", label: 0 }], { height: 8, width: 8 }, () => () => {}),
  };
}

async function pack(folder: string): Promise<Target> {
  const packs = join(folder, "packs");
  mkdirSync(packs, { recursive: true });
  const key = { subject: "s", content: "c" };
  const made = new Pack({ name: "p", classes: ["a", "b"], height: 2, width: 2, train: 3, test: 1 });
  made.seal();
  await made.save(packs, key);
  const { path } = await packPath(packs);
  return {
    name: "pack of images",
    seeds: [readFileSync(path)],
    read: async (bytes) => {
      writeFileSync(path, bytes);
      await readPack(packs, key);
    },
  };
}

async function packPath(packs: string): Promise<{ readonly path: string }> {
  const { readdirSync } = await import("node:fs");
  return { path: join(packs, readdirSync(packs)[0]) };
}

function study(): Target {
  const texts = ["quick", "cifar10", "original"].map((name) =>
    readFileSync(new URL(`../../studies/${name}.yaml`, import.meta.url)),
  );
  const anchors = Buffer.from(
    "name: x\ndata: &d { source: shapes }\nmodel: &m { name: resnet14 }\nvariants: { a: { model: *m }, b: {} }\n",
  );
  return {
    name: "study file",
    seeds: [...texts, anchors],
    read: async (bytes) => parseStudy(bytes.toString("utf8"), "x.yaml"),
  };
}

function cifar10(): Target {
  const split = allocateSplit(2, 32, 32);
  const names = Buffer.from("cat\ndog\nbird\nfrog\ndeer\nship\ntruck\nhorse\nplane\ncar\n");
  return {
    name: "CIFAR-10",
    seeds: [Buffer.alloc(2 * 3073, 3), names],
    read: async (bytes) => {
      if (bytes.length < 1000) parseClassNames(bytes.toString("utf8"));
      else parseBatch("batch", bytes, split, 0, 2);
    },
  };
}

/** What a report reads beside the records of runs. */
function reported(folder: string): Target[] {
  const study = join(folder, "reported");
  const run = join(study, "se", "seed-1");
  for (const path of [study, run]) mkdirSync(join(path, "cam"), { recursive: true });
  const scores = {
    layer: "layer1",
    images: [
      { index: 0, label: 1, predicted: 0, probability: 0.75 },
      { index: 3, label: 0, predicted: 0, probability: 0.5 },
    ],
    methods: { "grad-cam": { insertion: [0.5, null], pointing: [1, 0] } },
  };
  const maps = new Map([
    ["map.grad-cam", { shape: [2, 2, 2], values: Float32Array.of(1, 0, 0, 0.5, 0, 1, 0, 0) }],
    ["gate.layer1.0.se", { shape: [2, 3], values: Float32Array.of(0, 0.5, 1, 1, 0.5, 0) }],
  ]);
  const pictures = {
    images: { dtype: "U8", shape: [2, 4, 4, 3], data_offsets: [0, 96] },
    labels: { dtype: "I32", shape: [2], data_offsets: [96, 104] },
    masks: { dtype: "U8", shape: [2, 4, 4], data_offsets: [104, 136] },
  };
  const head = Buffer.from(JSON.stringify(pictures));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const whole = {
    "scores.json": Buffer.from(JSON.stringify(scores)),
    "maps.safetensors": Buffer.from(writeSafetensors(maps)),
    "images.safetensors": Buffer.concat([length, head, Buffer.alloc(136, 1)]),
  };
  const places = {
    "scores.json": join(run, "cam", "scores.json"),
    "maps.safetensors": join(run, "cam", "maps.safetensors"),
    "images.safetensors": join(study, "cam", "images.safetensors"),
  };
  const record: RunRecord = {
    folder: run,
    file: { atento: "0.1.0", settings, environment: {}, status: "done", startedAt: "" },
    ...{ epochs: [], timings: [] },
  };
  const heatmaps = (Object.keys(places) as (keyof typeof places)[]).map(
    (name): Target => ({
      name: `heatmaps: ${name}`,
      seeds: [whole[name]],
      read: async (bytes) => {
        for (const [other, path] of Object.entries(places)) {
          writeFileSync(path, other === name ? bytes : whole[other as keyof typeof whole]);
        }
        await readScores(run);
        await heatmapsOf(study, [record], 2);
      },
    }),
  );
  const file: Target = {
    name: "study.json",
    seeds: [Buffer.from(JSON.stringify(studyFileOf("photos", [settings], "0.1.0", "atento study photos")))],
    read: async (bytes) => {
      writeFileSync(join(study, "study.json"), bytes);
      await readStudyFile(study);
    },
  };
  return [file, ...heatmaps];
}
