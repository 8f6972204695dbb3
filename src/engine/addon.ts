import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../tensor/errors.ts";

/** What native/addon.cc exports. */
export interface Addon {
  readonly version: number;
  readonly Arena: new (variableFloats: number, threads: number, isa: string) => AddonArena;
  readonly Program: new (arena: AddonArena, code: Float64Array, scratchFloats: number) => AddonProgram;
  /** Multiply-adds a second on registers alone. */
  peak(threads: number, isa: string): number;
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
}

export interface AddonProgram {
  run(): Promise<void>;
  /** Seconds spent in each record since the last reset. */
  times(): Float64Array;
  resetTimes(): void;
}

/** Of native/addon.cc as this code expects it. */
const VERSION = 1;
const REBUILD = "run: npm run build:native";

const path = join(dirname(fileURLToPath(import.meta.url)), "../../build/Release/atento.node");

/** The addon, or undefined when it was never built. @throws UserError when it is stale or cannot be loaded. */
export function loadAddon(): Addon | undefined {
  if (!existsSync(path)) return undefined;
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const cause = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new UserError(`the native engine ${path} cannot be loaded (${cause}); ${REBUILD}`);
  }
  if (addon.version !== VERSION) {
    throw new UserError(
      `the native engine ${path} is stale (version ${addon.version}, expected ${VERSION}); ${REBUILD}`,
    );
  }
  return addon;
}
