import { parentPort, workerData } from "node:worker_threads";
import { type BatchPlan, epochOrder, normalizationTable, prepareBatch } from "./prepare.ts";

/** Memory of one batch, shared between the loader and its thread. */
export interface Slot {
  /** [batch,3,H,W]. */
  readonly images: Float32Array;
  /** [batch]. */
  readonly labels: Float32Array;
}

export interface WorkerData {
  readonly plan: BatchPlan;
  readonly slots: readonly Slot[];
}

export interface Order {
  readonly slot: number;
  readonly epoch: number;
  readonly step: number;
}

export interface Delivery {
  readonly slot: number;
  readonly count: number;
}

if (parentPort) {
  const port = parentPort;
  const { plan, slots } = workerData as WorkerData;
  const table = normalizationTable(plan.normalization);
  let current = { epoch: Number.NaN, order: plan.indices };
  port.on("message", ({ slot, epoch, step }: Order) => {
    if (epoch !== current.epoch) current = { epoch, order: epochOrder(plan, epoch) };
    const { images, labels } = slots[slot];
    const count = prepareBatch(plan, current.order, table, epoch, step, images, labels);
    port.postMessage({ slot, count } satisfies Delivery);
  });
}
