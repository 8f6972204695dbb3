import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { userPath } from "../data/source.ts";
import { buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import type { Pretrained } from "../train/adopt.ts";
import { modelFile, type Trained } from "../train/trained.ts";
import type { Fingerprinted } from "../train/types.ts";
import { formatOf } from "./formats.ts";

const pathOf = (file: string) => modelFile(resolve(userPath(file)));

/** The SHA-256 of a file. @throws UserError when it cannot be read. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const bytes of createReadStream(path)) hash.update(bytes);
  } catch (error) {
    throw new UserError(`${path}: cannot be read (${(error as Error).message})`);
  }
  return hash.digest("hex");
}

/** What a run's settings say of weights to start from. @param file a model file or a run's folder; `~` is the home. */
export async function fingerprintOf(file: string): Promise<Fingerprinted> {
  const path = await pathOf(file);
  formatOf(path);
  return { file, sha256: await sha256Of(path) };
}

/** The tensors of a file. @throws UserError when it is no longer the one of this fingerprint. */
export async function loadPretrained({ file, sha256 }: Fingerprinted): Promise<Pretrained> {
  const path = await pathOf(file);
  if ((await sha256Of(path)) !== sha256) {
    throw new UserError(`${file}: is another file than the one the run was set up with: put that one back`);
  }
  const format = formatOf(path);
  return format.tensors ? format.tensors(path) : tensorsOf(await format.read(path));
}

function tensorsOf({ model, image, weights }: Trained): Pretrained {
  const variables = new Variables(0);
  buildModel(model, variables, { batch: 1, image, training: false });
  return new Map(variables.all().map(({ name, shape }) => [name, { shape, values: weights.get(name)! }]));
}
