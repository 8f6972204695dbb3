import { readFileSync } from "node:fs";
import { cpus, release, type } from "node:os";
import type { Engine } from "../engine/engine.ts";

/** Version of this package. */
export const version: string = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
).version;

/** Where a run is computed, for its record. */
export function environmentOf(engine: Engine): Record<string, string | number> {
  const processors = cpus();
  return {
    engine: engine.description,
    node: process.version,
    system: `${type()} ${release()} ${process.arch}`,
    processor: processors[0]?.model.trim() ?? "unknown",
    processors: processors.length,
  };
}
