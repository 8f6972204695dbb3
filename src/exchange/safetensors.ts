import { floatsOf } from "../formats/safetensors.ts";
import { SafetensorsFile } from "../formats/sealed.ts";
import { buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import type { Pretrained } from "../train/adopt.ts";
import { loadTrained, type Trained, writeTrained } from "../train/trained.ts";
import { isFloat, readWeights as readFileWeights } from "../train/weights.ts";
import type { Format } from "./format.ts";

export const safetensors: Format = {
  name: "safetensors",
  about: "weights under the names of torchvision and timm, which load them with strict=True",
  extensions: [".safetensors"],
  files: [{ name: "model.safetensors", write: (trained, path) => writeTrained(trained, path) }],
  read: loadTrained,
  readWeights,
  tensors: readTensors,
};

async function readWeights(path: string, into: Trained): Promise<Trained> {
  const variables = new Variables(0);
  buildModel(into.model, variables, { batch: 1, image: into.image, training: false });
  const weights = await SafetensorsFile.with(path, (file) => readFileWeights(file, variables.all()));
  return { ...into, weights };
}

/** Every tensor. @throws UserError when the file cannot be read, DamagedFile when it is none. */
async function readTensors(path: string): Promise<Pretrained> {
  return SafetensorsFile.with(path, async (file) => {
    const tensors = new Map<string, { shape: readonly number[]; values?: Float32Array }>();
    for (const [name, { dtype, shape }] of file.header.entries) {
      tensors.set(name, { shape, ...(isFloat(dtype) && { values: floatsOf(await file.read(name)) }) });
    }
    return tensors;
  });
}
