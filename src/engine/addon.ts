import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { builtFrom, fingerprint } from "../../scripts/fingerprint.mjs";
import { UserError } from "../tensor/errors.ts";

/** What native/addon.cc exports. */
export interface Addon {
  readonly Arena: new (variableFloats: number, threads: number, isa: string) => AddonArena;
  readonly Program: new (
    arena: AddonArena,
    code: Float64Array,
    scratchFloats: number,
    keepsWeights: boolean,
  ) => AddonProgram;
  /** Multiply-adds a second on registers alone. */
  peak(threads: number, isa: string): number;
  /** Ends the process at once: nothing is waited for, not even a program that runs. */
  leave(code: number): never;
}

export interface AddonArena {
  readonly kernels: readonly string[];
  readonly isa: string;
  /** The variables' own memory; to be asked for once. */
  variables(): Float32Array;
  /** Copies scratch from `offset` into `values`. */
  read(offset: number, values: Float32Array): void;
  /** Copies `values` into scratch at `offset`. */
  write(offset: number, values: Float32Array): void;
  /** To be told after variables were written: weights that are kept are prepared anew. */
  changed(): void;
  /** Gives back all memory but the variables'; nothing may run. */
  release(): void;
}

export interface AddonProgram {
  /** Makes room for a run; nothing else may run in the arena. */
  reserve(): void;
  run(): Promise<void>;
  /** Seconds spent in each record since the last reset. */
  times(): Float64Array;
  resetTimes(): void;
}

const REBUILD = "run: npm run build:native";

const checkout = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The addon, or undefined when it was never built. @throws UserError when it is stale or cannot be loaded. */
export function loadAddon(root = checkout): Addon | undefined {
  const path = join(root, "build/Release/atento.node");
  if (!existsSync(path)) return undefined;
  if (builtFrom(root) !== fingerprint(root)) {
    throw new UserError(`the native engine ${path} is stale: its sources have changed since; ${REBUILD}`);
  }
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const cause = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new UserError(`the native engine ${path} cannot be loaded (${cause}); ${REBUILD}`);
  }
}
