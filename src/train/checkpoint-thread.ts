import { parentPort, workerData } from "node:worker_threads";
import { UserError } from "../tensor/errors.ts";
import { NotFinite, type SnapshotTensor, writeCheckpoint } from "./checkpoint-file.ts";
import type { TrainState } from "./state.ts";

export interface ThreadData {
  readonly tensors: readonly SnapshotTensor[];
  /** Shared with the thread that trains, which leaves it alone until the answer has come. */
  readonly snapshot: Float32Array;
}

export interface WriteOrder {
  readonly path: string;
  readonly state: TrainState;
}

export type WriteAnswer =
  | { readonly kind: "written" }
  | { readonly kind: "not finite"; readonly variable: string }
  | { readonly kind: "refused"; readonly message: string };

/** Anything unforeseen ends the thread, and tells its owner. */
async function answer({ path, state }: WriteOrder): Promise<WriteAnswer> {
  const { tensors, snapshot } = workerData as ThreadData;
  try {
    await writeCheckpoint(path, tensors, snapshot, state);
    return { kind: "written" };
  } catch (error) {
    if (error instanceof NotFinite) return { kind: "not finite", variable: error.variable };
    if (error instanceof UserError) return { kind: "refused", message: error.message };
    throw error;
  }
}

if (parentPort) {
  const port = parentPort;
  port.on("message", async (order: WriteOrder) => port.postMessage(await answer(order)));
}
