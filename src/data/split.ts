import { createHash } from "node:crypto";
import { expectMemory } from "../engine/memory.ts";
import type { Dataset, Split } from "./dataset.ts";

/** An empty split in shared memory: images [N,H,W,3], labels [N] and, when asked for, masks [N,H,W]. */
export function allocateSplit(
  count: number,
  height: number,
  width: number,
  options?: { masks: boolean },
): Split {
  const planes = options?.masks ? 4 : 3;
  expectMemory(`a part of ${count} images of ${height}×${width}`, count * (height * width * planes + 2));
  return {
    count,
    images: new Uint8Array(new SharedArrayBuffer(count * height * width * 3)),
    labels: new Uint16Array(new SharedArrayBuffer(count * 2)),
    ...(options?.masks && { masks: new Uint8Array(new SharedArrayBuffer(count * height * width)) }),
  };
}

/** SHA-256, in hexadecimal, of classes, sizes, images and labels. */
export function fingerprintOf(dataset: Omit<Dataset, "fingerprint" | "name">): string {
  const { classes, height, width, train, test } = dataset;
  const hash = createHash("sha256");
  hash.update(JSON.stringify({ classes, height, width, train: train.count, test: test.count }));
  for (const { images, labels } of [train, test]) {
    hash.update(images);
    // Two bytes a label, low byte first, whatever the machine's order.
    const bytes = Buffer.alloc(labels.length * 2);
    labels.forEach((label, i) => {
      bytes.writeUInt16LE(label, i * 2);
    });
    hash.update(bytes);
  }
  return hash.digest("hex");
}

/** Number of images of each class. */
export function classCounts(labels: Uint16Array, classes: number): Uint32Array {
  const counts = new Uint32Array(classes);
  for (const label of labels) counts[label]++;
  return counts;
}
