import type { Dataset, Normalization } from "../data/dataset.ts";
import { normalizationTable } from "../data/prepare.ts";
import { Random } from "../random/random.ts";

/** Images that every run of a study explains. */
const SAMPLE = 100;

/** Numbers in the test set, ascending: as many of every class as there are, drawn once and for all. */
export function sampleOf({ test, classes }: Dataset, size = SAMPLE): number[] {
  const members = classes.map(() => [] as number[]);
  test.labels.forEach((label, index) => {
    members[label].push(index);
  });
  const drawn = members.map((own, label) => [...new Random("explain", label).shuffle(Uint32Array.from(own))]);
  const turns = Math.max(0, ...drawn.map((own) => own.length));
  // the last turn may be cut short: in which order classes come is chance too
  const orders = new Random("explain");
  const sample = Array.from({ length: turns }, (_, k) =>
    [...orders.shuffle(Uint32Array.from(drawn.keys()))].flatMap((label) => drawn[label].slice(k, k + 1)),
  ).flat();
  return sample.slice(0, size).sort((a, b) => a - b);
}

/** Images of a split as a network takes them: [N,H,W,3] bytes → [N,3,H,W], normalised. */
export function normalized(bytes: Uint8Array, pixels: number, normalization: Normalization): Float32Array {
  const table = normalizationTable(normalization);
  const out = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const c = i % 3;
    const p = (i - c) / 3;
    const image = Math.floor(p / pixels);
    out[(image * 3 + c) * pixels + (p % pixels)] = table[256 * c + bytes[i]];
  }
  return out;
}

/** The sample's own images [N,H,W,3], labels [N] and, where known, masks [N,H,W]. */
export interface SampleImages {
  readonly images: Uint8Array;
  readonly labels: Int32Array;
  readonly masks?: Uint8Array;
}

export function sampleImages({ test, height, width }: Dataset, sample: readonly number[]): SampleImages {
  const pick = (all: Uint8Array, size: number) => {
    const out = new Uint8Array(sample.length * size);
    sample.forEach((index, k) => {
      out.set(all.subarray(index * size, (index + 1) * size), k * size);
    });
    return out;
  };
  const area = height * width;
  return {
    images: pick(test.images, 3 * area),
    labels: Int32Array.from(sample, (index) => test.labels[index]),
    ...(test.masks && { masks: pick(test.masks, area) }),
  };
}
