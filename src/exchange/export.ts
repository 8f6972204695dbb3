import { access, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { readJsonFile } from "../files/json.ts";
import { UserError } from "../tensor/errors.ts";
import { runPaths } from "../train/run-data.ts";
import type { Trained } from "../train/trained.ts";
import type { ExportOptions, Format } from "./format.ts";
import { formats, loadModel } from "./formats.ts";
import { sha256Of } from "./pretrained.ts";

/** Writes a model into a folder in the formats asked for; the paths of the files. */
export async function exportModel(
  trained: Trained,
  folder: string,
  asked: Iterable<Format>,
  options: ExportOptions = {},
): Promise<string[]> {
  await makeFolder(folder);
  const paths: string[] = [];
  for (const { files } of asked) {
    for (const { name, write } of files) {
      const path = join(folder, name);
      await write(trained, path, options);
      paths.push(path);
    }
  }
  return paths;
}

/** Says of which model.safetensors the other files of a run's folder are. */
const RECORD = "exports.json";

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Writes what a finished run's folder lacks of every format, from its model.safetensors; all of it when that has
 * changed since. A format that cannot say the model is told to `onNote` and left out.
 */
export async function completeExports(folder: string, onNote: (note: string) => void): Promise<void> {
  const { model } = runPaths(folder);
  await removeUnfinished(folder);
  const record = join(folder, RECORD);
  const of = await sha256Of(model);
  const known = z.object({ of: z.string() }).safeParse(await readJsonFile(record));
  const current = known.success && known.data.of === of;
  let trained: Trained | undefined;
  for (const { files } of formats.values()) {
    for (const { name, write } of files) {
      const path = join(folder, name);
      if (path === model || (current && (await isThere(path)))) continue;
      trained ??= await loadModel(folder);
      await write(trained, path, { run: folder }).catch(async (error: Error) => {
        if (!(error instanceof UserError) || error.cause) throw error; // a disk that is full is no matter of formats
        await rm(path, { force: true }); // of another model, if it is there
        onNote(`${path}: not written: ${error.message}`);
      });
    }
  }
  if (!current) await writeDurably(record, `${JSON.stringify({ of }, undefined, 2)}\n`);
}
