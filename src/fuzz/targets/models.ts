import { readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createEngine } from "../../engine/create.ts";
import { importModel } from "../../exchange/import.ts";
import { parseModel } from "../../exchange/keras/config.ts";
import { graphOf } from "../../exchange/keras/graph.ts";
import { readKeras, readKerasWeights } from "../../exchange/keras/read.ts";
import { holdersOf } from "../../exchange/keras/weights.ts";
import { writeKeras } from "../../exchange/keras/write.ts";
import { readOnnx } from "../../exchange/onnx/read.ts";
import { encodeOnnx } from "../../exchange/onnx/write.ts";
import { parseHdf5 } from "../../formats/hdf5.ts";
import { floatsOf, readSafetensors, valuesOf, writeSafetensors } from "../../formats/safetensors.ts";
import { writeSealed } from "../../formats/sealed.ts";
import { readCheckpoint } from "../../train/checkpoint-file.ts";
import { initialState } from "../../train/state.ts";
import { loadTrained, saveTrained, type Trained } from "../../train/trained.ts";
import { fileTarget, type Target } from "../target.ts";
import { modelVariables, settings } from "./settings.ts";

/** Weights and models, ours and others'. */
export async function modelTargets(folder: string): Promise<Target[]> {
  return [
    ...[safetensors(), await checkpoint(folder), await model(folder)],
    ...[await onnxModel(folder), await stateDict(folder), ...(await kerasFiles(folder))],
  ];
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
  return fileTarget("checkpoint", path, [readFileSync(path)], () => readCheckpoint(path, variables));
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
  return fileTarget("ONNX model", path, [Buffer.from(model)], () => readOnnx(path));
}

async function stateDict(folder: string): Promise<Target> {
  const path = join(folder, "dict.safetensors");
  await written(folder, "for-dict.safetensors");
  const { tensors } = readSafetensors(readFileSync(join(folder, "for-dict.safetensors")));
  const copy = new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, values: floatsOf(tensor) }] as const),
  );
  return fileTarget("state dict", path, [Buffer.from(writeSafetensors(copy))], () =>
    importModel(path, { image: [8, 8] }),
  );
}

/** After `model`: its file is what is written as Keras'. */
async function kerasFiles(folder: string): Promise<Target[]> {
  const trained = await loadTrained(join(folder, "model.safetensors"));
  const [whole, weights] = [join(folder, "model.h5"), join(folder, "weights.h5")];
  await writeKeras(trained, whole, { weightsOnly: false });
  await writeKeras(trained, weights, { weightsOnly: true });
  const config = parseHdf5(readFileSync(whole), whole).text("model_config")!;
  return [
    fileTarget("Keras model", whole, [readFileSync(whole)], () => readKeras(whole)),
    fileTarget("Keras weights", weights, [readFileSync(weights)], () => readKerasWeights(weights, trained)),
    {
      name: "model_config",
      seeds: [Buffer.from(config)],
      read: async (bytes) => {
        const { model, image } = graphOf(parseModel(bytes.toString("utf8"), "x.h5"), "x.h5", [8, 8]);
        holdersOf(model, image);
      },
    },
  ];
}
