import { Worker } from "node:worker_threads";
import { threadProgram } from "../files/thread.ts";
import { UserError } from "../tensor/errors.ts";
import type { Augmentation } from "./augment.ts";
import type { Normalization, Split } from "./dataset.ts";
import type { BatchPlan } from "./prepare.ts";
import type { Delivery, Order, Slot, WorkerData } from "./worker.ts";

export interface LoaderOptions {
  readonly split: Split;
  /** Which images of the split; default all. */
  readonly indices?: Uint32Array;
  readonly height: number;
  readonly width: number;
  readonly batch: number;
  readonly normalization: Normalization;
  readonly augmentation?: Augmentation;
  readonly seed: number;
  /** A new random order every epoch; without it, the order of `indices`. */
  readonly shuffle: boolean;
  /** The thread's program, where it is not the usual one. */
  readonly worker?: URL;
}

export interface Batch {
  /** [N,3,H,W], normalised. */
  readonly images: Float32Array;
  /** [N], class indices. */
  readonly labels: Float32Array;
  /** N: the batch size, or what is left in an epoch's last step. */
  readonly count: number;
}

/** Batches prepared before they are asked for. */
const AHEAD = 3;
/** A batch stays untouched while the next two are asked for. */
const KEPT = 2;
const SLOTS = AHEAD + KEPT + 1;

interface RingSlot extends Slot {
  /** Place of its batch in the sequence; −1 when it has none. */
  key: number;
  filling: boolean;
  /** The call that handed it out; 0 while nobody has it. */
  handedAt: number;
  ready: Promise<number>;
  resolve: (count: number) => void;
  reject: (error: Error) => void;
}

/**
 * Batches of a split, which depend on seed, epoch and step alone, prepared on another thread a few steps ahead
 * of a consumer that asks in sequence; any other request is served too. One loader serves one consumer.
 *
 * A batch's arrays are shared memory: read only, and valid until `batch` is called for the third time after it.
 */
export class Loader {
  /** Steps in an epoch; the last may be smaller. */
  readonly stepsPerEpoch: number;
  readonly #worker: Worker;
  readonly #slots: RingSlot[];
  readonly #imageValues: number;
  /** Every epoch is the same: neither shuffled nor augmented. */
  readonly #repeats: boolean;
  #calls = 0;
  #newest = 0;
  #waiting = 0;
  #failure: Error | undefined;

  /** Starts the thread. Throws UserError for an empty selection or an impossible batch size. */
  constructor(options: LoaderOptions) {
    const plan = planOf(options);
    const slots = Array.from({ length: SLOTS }, () => allocateSlot(plan));
    this.stepsPerEpoch = Math.ceil(plan.indices.length / plan.batch);
    this.#imageValues = 3 * plan.height * plan.width;
    this.#repeats = !plan.shuffle && !plan.augmentation;
    this.#slots = slots.map((slot) => ({ ...slot, ...idle() }));
    const workerData: WorkerData = { plan, slots };
    this.#worker = new Worker(options.worker ?? threadProgram(import.meta.url, "worker"), {
      workerData,
      name: "atento data",
    });
    this.#worker.on("message", (delivery: Delivery) => this.#deliver(delivery));
    this.#worker.on("error", (error) => this.#fail(hasDied(error.message, error)));
    this.#worker.on("exit", (code) => this.#fail(hasDied(`exit code ${code}`)));
    this.#worker.unref();
  }

  /** The batch of a step, counted from 0 in each epoch. Rejects after `close`, and when the thread has died. */
  async batch(epoch: number, step: number): Promise<Batch> {
    if (
      !Number.isInteger(epoch) ||
      epoch < 0 ||
      !Number.isInteger(step) ||
      step < 0 ||
      step >= this.stepsPerEpoch
    ) {
      throw new RangeError(`batch(${epoch}, ${step}): an epoch has steps 0 to ${this.stepsPerEpoch - 1}`);
    }
    const call = ++this.#calls;
    const key = this.#repeats ? step : epoch * this.stepsPerEpoch + step;
    this.#newest = key;
    // Only a pending request keeps the process alive.
    if (this.#waiting++ === 0) this.#worker.ref();
    try {
      const slot = await this.#take(key);
      slot.handedAt = call;
      this.#prepareAhead();
      const count = await slot.ready;
      return {
        images: slot.images.subarray(0, count * this.#imageValues),
        labels: slot.labels.subarray(0, count),
        count,
      };
    } finally {
      if (--this.#waiting === 0) this.#worker.unref();
    }
  }

  /** Stops the thread; pending requests reject. */
  async close(): Promise<void> {
    this.#fail(new Error("data loader: closed"));
    await this.#worker.terminate();
  }

  /** The slot that holds this batch or will, waiting for a free one where consumers ask for many at once. */
  async #take(key: number): Promise<RingSlot> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const slot = this.#prepared(key) ?? this.#start(key);
      if (slot) return slot;
      await Promise.race(this.#slots.filter((s) => s.filling).map((s) => s.ready));
    }
  }

  #prepared(key: number): RingSlot | undefined {
    return this.#slots.find((slot) => slot.key === key && slot.handedAt === 0);
  }

  /** Has the thread prepare a batch; undefined when no slot is free. */
  #start(key: number): RingSlot | undefined {
    const wanted = this.#upcoming();
    const slot = this.#slots.find(
      (s) => !s.filling && (s.handedAt > 0 ? s.handedAt < this.#calls - KEPT : !wanted.includes(s.key)),
    );
    if (!slot) return undefined;
    Object.assign(slot, idle(), { key, filling: true });
    slot.ready = new Promise((resolve, reject) => {
      slot.resolve = resolve;
      slot.reject = reject;
    });
    // Nobody may be waiting yet for a batch that is prepared ahead.
    slot.ready.catch(() => {});
    const order: Order = {
      slot: this.#slots.indexOf(slot),
      epoch: Math.floor(key / this.stepsPerEpoch),
      step: key % this.stepsPerEpoch,
    };
    this.#worker.postMessage(order);
    return slot;
  }

  #prepareAhead(): void {
    if (this.#failure) return;
    for (const key of this.#upcoming()) {
      if (!this.#prepared(key) && !this.#start(key)) return;
    }
  }

  /** What follows the newest request. */
  #upcoming(): number[] {
    return Array.from({ length: AHEAD }, (_, i) => {
      const key = this.#newest + 1 + i;
      return this.#repeats ? key % this.stepsPerEpoch : key;
    });
  }

  #deliver({ slot, count }: Delivery): void {
    this.#slots[slot].filling = false;
    this.#slots[slot].resolve(count);
    this.#prepareAhead();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const slot of this.#slots) if (slot.filling) slot.reject(this.#failure);
  }
}

const hasDied = (reason: string, cause?: Error) =>
  new UserError(`data loader: its thread has died (${reason}): run the same command again`, { cause });

function idle() {
  const nothing = () => {};
  return {
    key: -1,
    filling: false,
    handedAt: 0,
    ready: Promise.resolve(0),
    resolve: nothing,
    reject: nothing,
  };
}

function planOf(options: LoaderOptions): BatchPlan {
  const { split, height, width, batch, normalization, augmentation, seed, shuffle } = options;
  const indices = options.indices ?? Uint32Array.from({ length: split.count }, (_, i) => i);
  if (!Number.isInteger(batch) || batch < 1)
    throw new UserError(`batch: expected 1 or more images, got ${batch}`);
  if (indices.length === 0)
    throw new UserError("data loader: no images to load: this part of the data set is empty");
  const outside = indices.find((index) => index >= split.count);
  if (outside !== undefined) throw new RangeError(`index ${outside}: the split has ${split.count} images`);
  if (split.images.length !== split.count * height * width * 3) {
    throw new RangeError(`${split.images.length} bytes for ${split.count} images of ${height}×${width}×3`);
  }
  const { images, labels } = split;
  const hasChange = augmentation?.crop || augmentation?.flip || augmentation?.cutout;
  return {
    images,
    labels,
    indices,
    height,
    width,
    // No larger than what there is: slots are allocated for it.
    batch: Math.min(batch, indices.length),
    normalization,
    augmentation: hasChange ? augmentation : undefined,
    seed,
    shuffle,
  };
}

function allocateSlot({ batch, height, width }: BatchPlan): Slot {
  return {
    images: new Float32Array(new SharedArrayBuffer(4 * batch * 3 * height * width)),
    labels: new Float32Array(new SharedArrayBuffer(4 * batch)),
  };
}
