import { readdirSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { LONGEST_STUDY, parseStudy, type Study } from "./study.ts";

const folder = new URL("../../studies/", import.meta.url);

/** Names of the studies that come along. */
export function presetNames(): string[] {
  return readdirSync(fileURLToPath(folder))
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => file.slice(0, -5))
    .sort();
}

/**
 * The study of a file (anything with a slash or ending in .yaml or .yml) or of a preset's name.
 * @throws UserError with the nearest preset, when the file cannot be read, or with its mistakes.
 */
export async function loadStudy(fileOrName: string): Promise<Study> {
  if (/[/\\]|\.ya?ml$/i.test(fileOrName)) return parseStudy(await readText(fileOrName), fileOrName);
  const names = presetNames();
  if (!names.includes(fileOrName)) {
    throw new UserError(
      `${unknownName("study", fileOrName, names).message}; a file of your own is given by its path, ./${fileOrName}.yaml`,
    );
  }
  return parseStudy(
    await readFile(new URL(`${fileOrName}.yaml`, folder), "utf8"),
    `studies/${fileOrName}.yaml`,
  );
}

/** The text of a file; of one that is longer than any study, or never ends, only the beginning. */
async function readText(path: string): Promise<string> {
  try {
    const file = await open(path, "r");
    try {
      const bytes = Buffer.alloc(LONGEST_STUDY + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = (await file.read(bytes, length, bytes.length - length, null)).bytesRead;
      }
      return bytes.toString("utf8", 0, length);
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new UserError(`${path}: no such study file; by name there are ${presetNames().join(", ")}`);
    throw new UserError(`${path}: the study file cannot be read (${message})`);
  }
}
