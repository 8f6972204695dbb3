import { readFile } from "node:fs/promises";
import type { z } from "zod";
import { shorten } from "./shorten.ts";

/** The value of a JSON text; undefined for what is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The value of a JSON file; undefined when it cannot be read or is none. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch(() => "");
  return parseJson(text);
}

/** What a JSON text says, as the schema has it. @throws what `refuse` makes of the problem, told in a few words. */
export function parseAs<T>(schema: z.ZodType<T>, text: string, refuse: (problem: string) => Error): T {
  const value = parseJson(text);
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  if (value === undefined) throw refuse("it is no JSON");
  const { path, message } = parsed.error.issues[0];
  throw refuse(shorten(`${path.join(".") || "the file"}: ${message}`));
}
