import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, removeUnfinished, unwritable } from "../files/durable.ts";
import { unreadable } from "../files/unreadable.ts";
import { DamagedFile, UserError } from "../tensor/errors.ts";
import type { Variable } from "../tensor/tensor.ts";
import { type Checkpoint, readCheckpoint } from "./checkpoint-file.ts";
import { isMissing } from "./run-data.ts";
import { readRunFile } from "./run-folder.ts";
import type { TrainState } from "./state.ts";
import type { RunFile } from "./types.ts";

const DAMAGED = ".damaged";

/** The checkpoints of a run: files of all variables and the state, named by the steps done. */
export class Checkpoints {
  readonly folder: string;
  readonly #runFolder: string;

  /** @param runFolder need not exist yet. */
  constructor(runFolder: string) {
    this.#runFolder = runFolder;
    this.folder = join(runFolder, "checkpoints");
  }

  path(step: number): string {
    return join(this.folder, `step-${String(step).padStart(9, "0")}.safetensors`);
  }

  /** Steps of the files that are there, newest first. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (isMissing(error)) return [];
      throw unreadable(this.folder, error);
    });
    const steps = names.map((name) => /^step-(\d{9,})\.safetensors$/.exec(name)?.[1]);
    return steps
      .flatMap((step) => step ?? [])
      .map(Number)
      .sort((a, b) => b - a);
  }

  /** Makes the folder, and removes what a crash left half written; the run's folder is locked. */
  async prepare(): Promise<void> {
    await makeFolder(this.folder);
    for (const folder of [this.#runFolder, this.folder]) await removeUnfinished(folder, true);
  }

  /** @throws DamagedFile, or UserError when it cannot be read or does not hold these variables. */
  read(step: number, variables: readonly Variable[]): Promise<Checkpoint> {
    return readCheckpoint(this.path(step), variables);
  }

  /** The one with a run's best weights. @throws UserError when it is lost or damaged: no other holds them. */
  async best(step: number, variables: readonly Variable[]): Promise<Checkpoint> {
    const refuse = (problem: string) =>
      new UserError(`${problem}: it holds the best weights: remove ${this.folder} to train the run anew`);
    if (!(await this.steps()).includes(step)) throw refuse(`${this.path(step)}: is not there`);
    return this.read(step, variables).catch((error) => {
      throw error instanceof DamagedFile ? refuse(error.message) : error;
    });
  }

  /**
   * The newest one that is whole; undefined when there are none at all. Damaged ones that are newer are set aside
   * under another name.
   * @param onNote told of each that is set aside. @throws UserError when there are some and all are damaged.
   */
  async newest(
    variables: readonly Variable[],
    onNote?: (note: string) => void,
  ): Promise<Checkpoint | undefined> {
    const damaged: { readonly path: string; readonly problem: string }[] = [];
    for (const step of await this.steps()) {
      try {
        const checkpoint = await this.read(step, variables);
        for (const { path, problem } of damaged) {
          await onFile(path, rename(path, `${path}${DAMAGED}`));
          onNote?.(`${problem}: set aside as ${path}${DAMAGED}; the one after step ${step} is used`);
        }
        return checkpoint;
      } catch (error) {
        if (!(error instanceof DamagedFile)) throw error;
        damaged.push({ path: this.path(step), problem: error.message });
      }
    }
    if (damaged.length === 0) return undefined;
    const problems = damaged.map(({ problem }) => problem).join("; ");
    throw new UserError(`${problems}: remove ${this.folder} to train the run anew`);
  }

  /** Removes all but the checkpoint of a state, the one before and the best. */
  async prune({ step, best }: TrainState): Promise<void> {
    // steps beyond this one are of a past that was damaged, and left behind
    const [previous] = (await this.steps()).filter((other) => other < step);
    const kept = new Set([step, previous, best?.step]);
    for (const other of await this.steps()) {
      if (!kept.has(other)) await onFile(this.path(other), rm(this.path(other), { force: true }));
    }
  }
}

async function onFile(path: string, action: Promise<void>): Promise<void> {
  await action.catch((error: Error) => {
    throw unwritable(path, error);
  });
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
