import { availableParallelism } from "node:os";
import { UserError } from "../tensor/errors.ts";
import { loadAddon } from "./addon.ts";
import type { Engine } from "./engine.ts";
import { NativeEngine } from "./native.ts";
import { referenceEngine } from "./reference.ts";

export interface EngineOptions {
  /** `native` where the addon was built, else `reference`. */
  readonly engine?: "native" | "reference";
  /** Threads of the native engine; all processors by default. Results do not depend on it. */
  readonly threads?: number;
  /** Instruction set to use instead of the best one. */
  readonly isa?: "baseline" | "avx2" | "avx512";
  /** Whether the native engine's compile passes rewrite graphs; true by default. */
  readonly passes?: boolean;
}

/** Ends the process without waiting for a step that runs, as process.exit would with the native engine. */
export function leave(code: number): never {
  try {
    loadAddon()?.leave(code);
  } catch {} // what cannot be loaded does not run either
  return process.exit(code);
}

/** @throws UserError when the native engine is asked for and cannot be had. */
export function createEngine({
  engine,
  threads = availableParallelism(),
  isa,
  passes,
}: EngineOptions = {}): Engine {
  if (!Number.isInteger(threads) || threads < 1 || threads > 256) {
    throw new UserError(`threads must be a whole number from 1 to 256, is ${threads}`);
  }
  if (engine === "reference") return referenceEngine;
  const addon = loadAddon();
  if (addon) {
    try {
      return new NativeEngine(addon, threads, isa, passes);
    } catch (error) {
      throw new UserError(
        `native engine: ${error instanceof Error ? error.message : error}${isa ? ` (${isa})` : ""}`,
      );
    }
  }
  if (engine === "native" || isa) {
    throw new UserError(
      "the native engine was not built; with python3, make and g++ run: npm run build:native",
    );
  }
  return referenceEngine;
}
