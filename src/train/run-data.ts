import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { unreadable } from "../files/unreadable.ts";
import type { RunData } from "./types.ts";

/** Files of a run's folder. */
export const runPaths = (folder: string) => ({
  run: join(folder, "run.json"),
  metrics: join(folder, "metrics.jsonl"),
  timings: join(folder, "timings.jsonl"),
  test: join(folder, "test.json"),
  model: join(folder, "model.safetensors"),
});

/** Whether an error says that there is no such file. */
export const isMissing = ({ code }: NodeJS.ErrnoException) => code === "ENOENT" || code === "ENOTDIR";

/** The text of a file; undefined when there is none. @throws UserError when it cannot be read. */
export async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error)) return undefined;
    throw unreadable(path, error);
  });
}

const count = z.int().min(0);

/** [height, width]. */
export const imageSchema = z.tuple([count.min(1), count.min(1)]);

export const runDataSchema: z.ZodType<RunData> = z.object({
  source: z.record(z.string(), z.unknown()),
  name: z.string(),
  fingerprint: z.string(),
  classes: z.array(z.string()).min(1),
  image: imageSchema,
  validation: z.union([count, z.literal("test")]),
  normalize: z.enum(["channel", "scalar"]),
});

/** A file by its name, and the SHA-256 of its bytes. */
export const fingerprintedSchema = z.strictObject({
  file: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
