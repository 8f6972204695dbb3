import { Worker } from "node:worker_threads";
import type { Store } from "../engine/engine.ts";
import { threadProgram } from "../files/thread.ts";
import { UserError } from "../tensor/errors.ts";
import { NotFinite, type SnapshotTensor } from "./checkpoint-file.ts";
import type { ThreadData, WriteAnswer, WriteOrder } from "./checkpoint-thread.ts";
import type { TrainState } from "./state.ts";

/** Writes copies of a store's variables on a thread of its own, one at a time. */
export class CheckpointWriter {
  readonly #store: Store;
  readonly #snapshot: Float32Array;
  readonly #thread: Worker;
  #pending: { resolve(): void; reject(error: Error): void; path: string } | undefined;
  #closed = false;

  constructor(store: Store) {
    this.#store = store;
    const { floats } = store.snapshotPlan;
    this.#snapshot = new Float32Array(new SharedArrayBuffer(4 * floats));
    const workerData: ThreadData = { tensors: tensorsIn(store), snapshot: this.#snapshot };
    const program = threadProgram(import.meta.url, "checkpoint-thread");
    this.#thread = new Worker(program, { workerData, name: "atento checkpoints" });
    this.#thread.on("message", (answer: WriteAnswer) => this.#settle(answer));
    this.#thread.on("error", (error) => this.#fail(error.message));
    this.#thread.on("exit", (code) => this.#fail(`exit code ${code}`));
    this.#thread.unref();
  }

  /** Copies the variables as they are now. Nothing may be written meanwhile. */
  take(): void {
    if (this.#pending) throw new Error("a snapshot is being written");
    this.#store.snapshot(this.#snapshot);
  }

  /** Writes the copy. @throws NotFinite, or UserError when it cannot be written. */
  write(path: string, state: TrainState): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#pending = { resolve, reject, path };
      if (this.#closed) this.#fail("it has ended before");
      this.#thread.ref();
      this.#thread.postMessage({ path, state } satisfies WriteOrder);
    });
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }

  #settle(answer: WriteAnswer): void {
    const { resolve, reject } = this.#take();
    if (answer.kind === "written") resolve();
    else if (answer.kind === "not finite") reject(new NotFinite(answer.variable));
    else reject(new UserError(answer.message));
  }

  #take() {
    const pending = this.#pending!;
    this.#pending = undefined;
    this.#thread.unref();
    return pending;
  }

  #fail(reason: string): void {
    this.#closed = true;
    if (!this.#pending) return;
    const { reject, path } = this.#take();
    reject(
      new UserError(`${path}: the thread that writes it has died (${reason}): run the same command again`),
    );
  }
}

function tensorsIn({ variables, snapshotPlan: { offsets, physical } }: Store): SnapshotTensor[] {
  return [...variables.values()].map(({ name, shape, layout }) => ({
    name,
    shape,
    layout,
    offset: offsets.get(name)!,
    physical,
  }));
}
