import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Store } from "../engine/engine.ts";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { UserError } from "../tensor/errors.ts";
import type { Variable } from "../tensor/tensor.ts";
import { isMissing, readRunFile } from "./run-folder.ts";
import { type TrainState, trainStateSchema } from "./state.ts";
import type { RunFile } from "./types.ts";
import { fitWeights, tensorsOf, type Weights } from "./weights.ts";

const FORMAT = "atento-checkpoint-1";

export interface Checkpoint {
  readonly state: TrainState;
  readonly weights: Weights;
}

/** The checkpoints of a run: files of all variables and the state, named by the steps done. */
export class Checkpoints {
  readonly folder: string;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  /** @param runFolder need not exist yet. */
  constructor(runFolder: string) {
    this.folder = join(runFolder, "checkpoints");
  }

  path(step: number): string {
    return join(this.folder, `step-${String(step).padStart(9, "0")}.safetensors`);
  }

  /** Steps of the files that are there, newest first. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (isMissing(error)) return [];
      throw new UserError(`${this.folder}: cannot be read (${error.message})`);
    });
    const steps = names.map((name) => /^step-(\d{9,})\.safetensors$/.exec(name)?.[1]);
    return steps
      .flatMap((step) => step ?? [])
      .map(Number)
      .sort((a, b) => b - a);
  }

  /** Makes the folder, and removes what a crash left half written. */
  async prepare(): Promise<void> {
    await makeFolder(this.folder);
    await removeUnfinished(this.folder);
  }

  /** @throws UserError when the file is damaged, or does not hold these variables. */
  async read(step: number, variables: readonly Variable[]): Promise<Checkpoint> {
    const path = this.path(step);
    const bytes = await readFile(path).catch((error: Error) => {
      throw new UserError(`${path}: the checkpoint cannot be read (${error.message})`);
    });
    const { tensors, metadata } = readSafetensors(bytes, path);
    if (metadata["format"] !== FORMAT)
      throw new UserError(`${path}: no checkpoint of this version (${FORMAT})`);
    return { state: parseState(path, metadata["state"]), weights: fitWeights(variables, tensors, path) };
  }

  /**
   * The newest one that is whole; undefined when there are none at all.
   * @throws UserError when there are some and all are damaged.
   */
  async newest(variables: readonly Variable[]): Promise<Checkpoint | undefined> {
    const problems: string[] = [];
    for (const step of await this.steps()) {
      try {
        return await this.read(step, variables);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        problems.push(error.message);
      }
    }
    if (problems.length === 0) return undefined;
    throw new UserError(`${problems.join("; ")}: remove ${this.folder} to train the run anew`);
  }

  /**
   * Takes variables and state as they are now and writes them in the background, once the checkpoint before is
   * on disk. @throws UserError when that one could not be written.
   */
  async save(store: Store, state: TrainState): Promise<void> {
    await this.settle();
    const metadata = { format: FORMAT, state: JSON.stringify(state) };
    const bytes = writeSafetensors(tensorsOf(store, store.variables.values()), metadata);
    this.#writing = this.#write(bytes, state);
    this.#writing.catch((error) => {
      this.#failure = error;
    });
  }

  async #write(bytes: Uint8Array, { step, best }: TrainState): Promise<void> {
    await writeDurably(this.path(step), bytes);
    // steps beyond this one are of a past that was damaged, and left behind
    const [previous] = (await this.steps()).filter((other) => other < step);
    const kept = new Set([step, previous, best?.step]);
    for (const other of await this.steps()) if (!kept.has(other)) await this.#remove(this.path(other));
  }

  async #remove(path: string): Promise<void> {
    await rm(path, { force: true }).catch((error: Error) => {
      throw new UserError(`${path}: this old checkpoint cannot be removed (${error.message})`);
    });
  }

  /** Throws the error of a write that failed in the background, as soon as it is known. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Waits until everything is on disk. @throws UserError when it could not be written. */
  settle(): Promise<void> {
    return this.#writing;
  }
}

function parseState(path: string, text: string | undefined): TrainState {
  try {
    return trainStateSchema.parse(JSON.parse(text ?? ""));
  } catch (error) {
    throw new UserError(`${path}: the state in its metadata is not readable (${(error as Error).name})`);
  }
}

/**
 * run.json of a run of which something is trained; undefined for one that ended before its first checkpoint, which
 * may begin anew under other settings.
 */
export async function readTrainedRun(folder: string): Promise<RunFile | undefined> {
  const file = await readRunFile(folder);
  if (!file || file.status === "done") return file;
  return (await new Checkpoints(folder).steps()).length > 0 ? file : undefined;
}
