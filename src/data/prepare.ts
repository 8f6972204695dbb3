import { Random } from "../random/random.ts";
import { type Augmentation, type Change, drawChange, UNCHANGED } from "./augment.ts";
import type { Normalization } from "./dataset.ts";

/** Everything that decides what a batch holds, but for its epoch and step; all of it can go to another thread. */
export interface BatchPlan {
  /** [N,H,W,3]. */
  readonly images: Uint8Array;
  /** [N]. */
  readonly labels: Uint16Array;
  /** Which images take part. */
  readonly indices: Uint32Array;
  readonly height: number;
  readonly width: number;
  readonly batch: number;
  readonly normalization: Normalization;
  readonly augmentation?: Augmentation;
  readonly seed: number;
  readonly shuffle: boolean;
}

/** The indices in their order of one epoch, which depends on seed and epoch alone. */
export function epochOrder({ indices, seed, shuffle }: BatchPlan, epoch: number): Uint32Array {
  return shuffle ? new Random("order", seed, epoch).shuffle(indices.slice()) : indices;
}

/** Normalised values of every byte in every channel: [3,256]. */
export function normalizationTable({ mean, std }: Normalization): Float32Array {
  return Float32Array.from({ length: 3 * 256 }, (_, i) => ((i & 255) / 255 - mean[i >> 8]) / std[i >> 8]);
}

/**
 * Fills a batch: `images` [N,3,H,W], normalised, and `labels` [N], and returns N, which is smaller than the
 * plan's batch only in the last step.
 *
 * @param order the epoch's order, from `epochOrder`.
 * @param table the plan's normalisation, from `normalizationTable`.
 */
export function prepareBatch(
  plan: BatchPlan,
  order: Uint32Array,
  table: Float32Array,
  epoch: number,
  step: number,
  images: Float32Array,
  labels: Float32Array,
): number {
  const { height, width, augmentation, seed } = plan;
  const members = order.subarray(step * plan.batch, (step + 1) * plan.batch);
  members.forEach((index, n) => {
    const change = augmentation ? drawChange(augmentation, height, width, seed, epoch, index) : UNCHANGED;
    placeImage(plan, table, index, change, images, n * 3 * height * width);
    labels[n] = plan.labels[index];
  });
  return members.length;
}

/** Writes one image, changed and normalised, as [3,H,W] from `at` on. */
function placeImage(
  { images: bytes, height, width }: BatchPlan,
  table: Float32Array,
  index: number,
  { dy, dx, flip, cutout }: Change,
  out: Float32Array,
  at: number,
): void {
  const plane = height * width;
  out.fill(0, at, at + 3 * plane);
  // Output column x shows source column x + dx, or W − 1 − x + dx when mirrored.
  const first = flip ? width - 1 + dx : dx;
  const forward = flip ? -1 : 1;
  const from = Math.max(0, flip ? first - width + 1 : -first);
  const to = Math.min(width, flip ? first + 1 : width - first);
  for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
    let source = 3 * ((index * height + y + dy) * width + first + forward * from);
    for (let target = at + y * width + from; target < at + y * width + to; target++) {
      out[target] = table[bytes[source]];
      out[target + plane] = table[256 + bytes[source + 1]];
      out[target + 2 * plane] = table[512 + bytes[source + 2]];
      source += 3 * forward;
    }
  }
  if (!cutout) return;
  for (let y = cutout.top; y < cutout.bottom; y++) {
    for (let c = 0; c < 3; c++) {
      const row = at + c * plane + y * width;
      out.fill(0, row + cutout.left, row + cutout.right);
    }
  }
}
