import { describe, expect, test } from "vitest";
import { type Augmentation, drawChange } from "../../../src/data/augment.ts";
import { type BatchPlan, epochOrder, normalizationTable, prepareBatch } from "../../../src/data/prepare.ts";

/** Image n has red 10n + position, green 100 more, blue 200 more; normalisation takes bytes to themselves. */
function planOf(count: number, height: number, width: number, changes: Partial<BatchPlan> = {}): BatchPlan {
  const images = new Uint8Array(count * height * width * 3);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) images[3 * (n * height * width + i) + c] = 10 * n + i + 1 + 80 * c;
    }
  }
  return {
    images,
    labels: Uint16Array.from({ length: count }, (_, n) => n),
    indices: Uint32Array.from({ length: count }, (_, n) => n),
    height,
    width,
    batch: 2,
    normalization: { mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] },
    seed: 1,
    shuffle: false,
    ...changes,
  };
}

function prepare(plan: BatchPlan, epoch: number, step: number) {
  const images = new Float32Array(plan.batch * 3 * plan.height * plan.width).fill(-1);
  const labels = new Float32Array(plan.batch).fill(-1);
  const table = normalizationTable(plan.normalization);
  const count = prepareBatch(plan, epochOrder(plan, epoch), table, epoch, step, images, labels);
  return { images: [...images].map((v) => Math.round(v * 1e4) / 1e4), labels: [...labels], count };
}

describe("prepareBatch", () => {
  test("brings channels first and normalises", () => {
    const plan = planOf(3, 1, 2, { normalization: { mean: [0.5, 0, 1], std: [2, 1, 0.5] } });
    const { images, labels, count } = prepare(plan, 0, 0);
    expect([labels, count]).toEqual([[0, 1], 2]);
    const expected = [
      ...[1, 2].map((v) => (v / 255 - 0.5) / 2),
      ...[81, 82].map((v) => v / 255),
      ...[161, 162].map((v) => (v / 255 - 1) / 0.5),
    ];
    images.slice(0, 6).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i], 4);
    });
  });

  test("the last batch is smaller", () => {
    const { labels, count, images } = prepare(planOf(3, 1, 1), 0, 1);
    expect([labels, count]).toEqual([[2, -1], 1]);
    expect(images).toEqual([21, 101, 181, -1, -1, -1]);
  });

  test("takes the listed images, in an order of the epoch", () => {
    const plan = planOf(40, 1, 1, {
      indices: Uint32Array.from({ length: 20 }, (_, i) => 2 * i),
      batch: 20,
      shuffle: true,
    });
    const first = prepare(plan, 0, 0).labels;
    const second = prepare(plan, 1, 0).labels;
    expect([...first].sort((a, b) => a - b)).toEqual([...plan.indices]);
    expect([...second].sort((a, b) => a - b)).toEqual([...plan.indices]);
    expect(first).not.toEqual(second);
    expect(prepare(plan, 0, 0).labels).toEqual(first);
    expect(prepare({ ...plan, seed: 2 }, 0, 0).labels).not.toEqual(first);
  });
});

describe("augmentation", () => {
  test("shows every shift of the crop and both sides, and only these", () => {
    // 2×3 image 1 2 3 / 4 5 6 in red, padding 1: nine places, mirrored or not, worked out on paper.
    const shown = new Set<string>();
    for (let epoch = 0; epoch < 400; epoch++) {
      const plan = planOf(1, 2, 3, { batch: 1, augmentation: { crop: { padding: 1 }, flip: true } });
      const { images } = prepare(plan, epoch, 0);
      shown.add(images.slice(0, 6).join(" "));
      // Green and blue move with red.
      images.slice(0, 6).forEach((red, i) => {
        expect(images[6 + i]).toBe(red && red + 80);
        expect(images[12 + i]).toBe(red && red + 160);
      });
    }
    expect([...shown].sort()).toEqual(
      [
        ["1 2 3 4 5 6", "3 2 1 6 5 4"],
        ["0 1 2 0 4 5", "2 1 0 5 4 0"],
        ["2 3 0 5 6 0", "0 3 2 0 6 5"],
        ["0 0 0 1 2 3", "0 0 0 3 2 1"],
        ["0 0 0 0 1 2", "0 0 0 2 1 0"],
        ["0 0 0 2 3 0", "0 0 0 0 3 2"],
        ["4 5 6 0 0 0", "6 5 4 0 0 0"],
        ["0 4 5 0 0 0", "5 4 0 0 0 0"],
        ["5 6 0 0 0 0", "0 6 5 0 0 0"],
      ]
        .flat()
        .sort(),
    );
  });

  test("padding is zero after normalisation: the mean, not black", () => {
    const normalization = { mean: [0.5, 0.5, 0.5], std: [0.1, 0.1, 0.1] } as const;
    const plan = planOf(1, 1, 1, { batch: 1, augmentation: { crop: { padding: 1 } }, normalization });
    const values = new Set(Array.from({ length: 60 }, (_, epoch) => prepare(plan, epoch, 0).images[0]));
    expect([...values].sort()).toEqual([Math.round((1 / 255 - 0.5) * 1e5) / 1e4, 0].sort());
  });

  test("cutout clears a square of its size, or the part of it inside", () => {
    const sizes = new Map<number, number>();
    for (let epoch = 0; epoch < 300; epoch++) {
      const { images } = prepare(
        planOf(1, 5, 5, { batch: 1, augmentation: { cutout: { size: 3 } } }),
        epoch,
        0,
      );
      const cleared = [0, 1, 2].map((c) =>
        images.slice(25 * c, 25 * (c + 1)).flatMap((v, i) => (v === 0 ? [i] : [])),
      );
      expect(cleared[1]).toEqual(cleared[0]);
      expect(cleared[2]).toEqual(cleared[0]);
      sizes.set(cleared[0].length, (sizes.get(cleared[0].length) ?? 0) + 1);
    }
    // Around the 9 inner centres of 25 the square is whole; at 12 on an edge 6 pixels; in 4 corners 4.
    expect([...sizes.keys()].sort()).toEqual([4, 6, 9]);
    expect(Math.abs(sizes.get(9)! / 300 - 9 / 25)).toBeLessThan(0.12);
  });

  test("an image changes in the same way whatever batch it comes in", () => {
    const augmentation: Augmentation = { crop: { padding: 2 }, flip: true, cutout: { size: 2 } };
    const imagesOf = (batch: number) => {
      const plan = planOf(12, 4, 4, { batch, augmentation, shuffle: true });
      const found = new Map<number, string>();
      for (let step = 0; step * batch < 12; step++) {
        const { images, labels, count } = prepare(plan, 3, step);
        for (let n = 0; n < count; n++) found.set(labels[n], images.slice(n * 48, (n + 1) * 48).join());
      }
      return found;
    };
    expect(imagesOf(5)).toEqual(imagesOf(12));
  });

  test("one part more leaves the others as they are", () => {
    for (let index = 0; index < 50; index++) {
      const draw = (augmentation: Augmentation) => drawChange(augmentation, 32, 32, 1, 2, index);
      const all = draw({ crop: { padding: 4 }, flip: true, cutout: { size: 8 } });
      expect(draw({ crop: { padding: 4 } })).toMatchObject({ dy: all.dy, dx: all.dx, flip: false });
      expect(draw({ flip: true })).toMatchObject({ dy: 0, dx: 0, flip: all.flip });
      expect(draw({ cutout: { size: 8 } }).cutout).toEqual(all.cutout);
    }
  });
});
