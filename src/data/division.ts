import { Random, type SeedPart } from "../random/random.ts";
import { UserError } from "../tensor/errors.ts";
import type { Division, Split } from "./dataset.ts";
import { classCounts } from "./split.ts";

/**
 * Sets `validation` training images aside, the same share of every class (largest remainders), chosen by the
 * seed; both parts list indices into the split in ascending order. Throws UserError when that many cannot be
 * taken.
 */
export function divide(train: Split, classes: readonly string[], validation: number, seed: number): Division {
  if (!Number.isInteger(validation) || validation < 0) {
    throw new UserError(`validation: expected a whole number of images, got ${validation}`);
  }
  if (validation >= train.count) {
    throw new UserError(
      `validation: ${validation} images asked for, but there are ${train.count} training images: ask for fewer`,
    );
  }
  if (validation > 0 && validation < classes.length) {
    throw new UserError(
      `validation: ${validation} images cannot hold ${classes.length} classes: ask for 0 or at least ${classes.length}`,
    );
  }
  const held = holdOut(train.labels, classes, validation, "validation", seed);
  return { train: indicesWhere(held, 0), validation: indicesWhere(held, 1) };
}

/**
 * Marks `count` of the labels with 1, the same share of every class as nearly as whole images allow; every
 * class keeps at least one unmarked, or UserError is thrown.
 */
export function holdOut(
  labels: Uint16Array,
  classes: readonly string[],
  count: number,
  purpose: "validation" | "test",
  seed: SeedPart,
): Uint8Array {
  const counts = classCounts(labels, classes.length);
  const quotas = apportion(counts, count);
  quotas.forEach((quota, label) => {
    if (quota < counts[label] || counts[label] === 0) return;
    throw new UserError(
      `${purpose}: class ${classes[label]} has ${counts[label]} images, and ${quota} of them would go to ` +
        `${purpose}: ask for fewer than ${count}, or add images`,
    );
  });
  const members = Array.from(counts, (n) => new Uint32Array(n));
  const filled = new Uint32Array(classes.length);
  labels.forEach((label, i) => {
    members[label][filled[label]++] = i;
  });
  const held = new Uint8Array(labels.length);
  members.forEach((indices, label) => {
    const order = new Random("hold out", purpose, seed, label).shuffle(indices);
    for (const i of order.subarray(0, quotas[label])) held[i] = 1;
  });
  return held;
}

/** Whole shares of `total` in proportion to the counts, by largest remainder, ties to the first class. */
function apportion(counts: Uint32Array, total: number): number[] {
  const sum = counts.reduce((a, b) => a + b, 0);
  // Integers throughout: count·total stays below 2^53 for any data set that fits in memory.
  const quotas = Array.from(counts, (n) => Math.floor((n * total) / sum));
  const remainders = Array.from(counts, (n) => (n * total) % sum);
  let missing = total - quotas.reduce((a, b) => a + b, 0);
  const order = remainders.map((_, i) => i).sort((a, b) => remainders[b] - remainders[a] || a - b);
  for (const i of order) if (missing-- > 0) quotas[i]++;
  return quotas;
}

function indicesWhere(flags: Uint8Array, value: number): Uint32Array {
  const indices = new Uint32Array(flags.reduce((n, flag) => n + (flag === value ? 1 : 0), 0));
  let filled = 0;
  flags.forEach((flag, i) => {
    if (flag === value) indices[filled++] = i;
  });
  return indices;
}
