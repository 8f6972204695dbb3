import { extname } from "node:path";
import { UserError } from "../tensor/errors.ts";
import { modelFile, type Trained } from "../train/trained.ts";
import type { Format, Given } from "./format.ts";
import { keras } from "./keras/format.ts";
import { onnx } from "./onnx/format.ts";
import { safetensors } from "./safetensors.ts";

/** Formats in which models travel, by name. */
export const formats: ReadonlyMap<string, Format> = new Map(
  [safetensors, keras, onnx].map((format) => [format.name, format]),
);

/** The format that a file's name tells. @throws UserError with those there are. */
export function formatOf(path: string): Format {
  const ending = extname(path).toLowerCase();
  for (const format of formats.values()) if (format.extensions.includes(ending)) return format;
  const known = [...formats.values()].flatMap(({ extensions }) => extensions);
  throw new UserError(
    `${path}: is no model file by its name: expected a run's folder, or a file in ${known.join(", ")}`,
  );
}

/**
 * The trained model of a run's folder or of a model file in any format.
 * @param given what the file does not say.
 * @throws UserError when there is none, when it says itself what is given, or when its tensors do not fit its
 * architecture, listing them.
 */
export async function loadModel(path: string, given: Given = {}): Promise<Trained> {
  const file = await modelFile(path);
  const format = formatOf(file);
  const said = (["classes", "normalization", "image"] as const).filter((key) => given[key] !== undefined);
  if (said.length > 0 && !format.silent) {
    throw new UserError(`${path}: says its own ${said.join(", ")}, which may be given for a .h5 only`);
  }
  return format.read(file, given);
}
