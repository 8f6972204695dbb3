import type { Store } from "../engine/engine.ts";
import type { Checkpoints } from "./checkpoint.ts";
import { NotFinite } from "./checkpoint-file.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import { Diverged } from "./diverged.ts";
import type { TrainState } from "./state.ts";

/** Writes the checkpoints of a training under way, on a thread of its own. */
export class CheckpointKeeper {
  readonly #checkpoints: Checkpoints;
  readonly #writer: CheckpointWriter;
  readonly #runFolder: string;
  #writing: Promise<void> | undefined;
  #failure: unknown;
  /** The state of the copy that is held and not yet written. */
  #held: TrainState | undefined;

  constructor(runFolder: string, checkpoints: Checkpoints, store: Store) {
    this.#runFolder = runFolder;
    this.#checkpoints = checkpoints;
    this.#writer = new CheckpointWriter(store);
  }

  /** Whether one is being written. */
  get busy(): boolean {
    return this.#writing !== undefined;
  }

  /**
   * Copies variables and state as they are now, once the checkpoint before is on disk, and writes them in the
   * background. @throws UserError when the one before could not be written.
   */
  async save(state: TrainState): Promise<void> {
    await this.settle();
    this.hold(state);
    this.writeHeld();
  }

  /** Copies variables and state as they are now, unless one is being written. */
  hold(state: TrainState): void {
    if (this.busy) return;
    this.#writer.take();
    this.#held = state;
  }

  /** Writes what is held in the background; nothing when nothing is held. */
  writeHeld(): void {
    const state = this.#held;
    this.#held = undefined;
    if (!state) return;
    this.#writing = this.#write(state)
      .catch((error) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#writing = undefined;
      });
  }

  async #write(state: TrainState): Promise<void> {
    try {
      await this.#writer.write(this.#checkpoints.path(state.step), state);
    } catch (error) {
      if (!(error instanceof NotFinite)) throw error;
      throw new Diverged(this.#runFolder, `${error.variable} is no longer finite after step ${state.step}`);
    }
    await this.#checkpoints.prune(state);
  }

  /** Throws the error of a write that failed in the background, as soon as it is known. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Waits until everything is on disk. @throws UserError when it could not be written. */
  async settle(): Promise<void> {
    await this.#writing;
    this.throwIfFailed();
  }

  /** Ends the thread; nothing may be under way. */
  close(): Promise<void> {
    return this.#writer.close();
  }
}
