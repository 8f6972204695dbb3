import { describe, expect, it } from "vitest";
import type { Graph } from "../../../src/compile/graph.ts";
import { Loader } from "../../../src/data/loader.ts";
import type { Store } from "../../../src/engine/engine.ts";
import { evaluate, Programs } from "../../../src/train/evaluate.ts";
import { figuresOf, meansOf } from "../../../src/train/figures.ts";
import { addBatch, evaluationOf, noSums, predictedClasses } from "../../../src/train/metrics.ts";
import { Pace, throttle } from "../../../src/train/pace.ts";
import type { RunProgress } from "../../../src/train/types.ts";
import { toyDataset, toySettings } from "./support.ts";

describe("predictedClasses", () => {
  it("takes the largest logit of a row, the first of equals", () => {
    expect(predictedClasses(Float32Array.of(1, 3, 2, -1, -5, -1, 0, 0, 0), 3)).toEqual([1, 0, 0]);
  });
});

it("sums of an epoch weigh batches by their images", () => {
  const batch = (...labels: number[]) => ({
    images: new Float32Array(0),
    labels: Float32Array.from(labels),
    count: labels.length,
  });
  const one = addBatch(noSums, batch(0, 1, 1), {
    loss: 2,
    logits: Float32Array.of(1, 0, 0, 1, 1, 0),
  });
  const two = addBatch(one, batch(0), { loss: 6, logits: Float32Array.of(0, 1) });
  expect(two).toEqual({ loss: 12, correct: 2, images: 4 });
  expect(meansOf(two)).toEqual({ loss: 3, accuracy: 0.5 });
});

describe("evaluationOf", () => {
  // on paper: 3 cats of which 2 are seen, 2 dogs of which 1 is seen, no fox
  const evaluation = evaluationOf(["cat", "dog", "fox"], [0, 0, 0, 1, 1], [0, 2, 0, 0, 1], 4);

  it("counts what was taken for what", () => {
    expect(evaluation).toEqual({
      count: 5,
      loss: 0.8,
      accuracy: 0.6,
      perClass: [
        { name: "cat", count: 3, accuracy: 2 / 3 },
        { name: "dog", count: 2, accuracy: 0.5 },
        { name: "fox", count: 0, accuracy: 0 },
      ],
      confusion: [
        [2, 0, 1],
        [1, 1, 0],
        [0, 0, 0],
      ],
      predictions: [0, 2, 0, 0, 1],
      labels: [0, 0, 0, 1, 1],
    });
  });
});

describe("evaluate", () => {
  const dataset = toyDataset({ test: 9 });
  const normalization = { mean: [0, 0, 0], std: [1, 1, 1] } as const;

  /** Programs that always answer class 1, with the batch's size as loss. */
  function programs(sizes: number[]): Programs {
    const compile = ({ outputs }: Graph) => {
      const [size] = outputs["logits"].shape;
      sizes.push(size);
      const logits = Float32Array.from({ length: 3 * size }, (_, i) => Number(i % 3 === 1));
      return {
        inputs: new Map(),
        scratchBytes: 0,
        run: async () => ({ loss: Float32Array.of(size), logits }),
      };
    };
    const graph = (size: number) =>
      ({ outputs: { logits: { shape: [size, 3] } }, effects: [] }) as unknown as Graph;
    return new Programs({ compile } as unknown as Store, graph);
  }

  const loaderOf = (batch: number) =>
    new Loader({ split: dataset.test, height: 8, width: 8, batch, normalization, seed: 0, shuffle: false });

  it("weighs batches by their images and compiles one program a size", async () => {
    const sizes: number[] = [];
    const loader = loaderOf(4);
    const progress: RunProgress[] = [];
    const job = { programs: programs(sizes), loader, count: 9, classes: dataset.classes };
    const evaluation = await evaluate({ ...job, onProgress: (p) => progress.push(p) });
    await loader.close();
    expect(sizes).toEqual([4, 1]);
    // 4, 4 and 1 images with losses 4, 4 and 1; labels are 0 1 2 0 1 2 0 1 2
    expect(evaluation).toMatchObject({ count: 9, loss: 33 / 9, accuracy: 1 / 3 });
    expect(evaluation.confusion).toEqual([
      [0, 3, 0],
      [0, 3, 0],
      [0, 3, 0],
    ]);
    expect(progress[0]).toEqual({ kind: "evaluate", done: 4, total: 9 });
  });

  it("stops when it is aborted", async () => {
    const loader = loaderOf(4);
    const controller = new AbortController();
    const onProgress = () => controller.abort("enough");
    const job = { programs: programs([]), loader, count: 9, classes: dataset.classes };
    await expect(evaluate({ ...job, onProgress, signal: controller.signal })).rejects.toBe("enough");
    await loader.close();
  });
});

it("final figures are those of the epoch whose weights are kept, at the pace of all epochs", () => {
  const settings = toySettings(toyDataset());
  const record = (epoch: number) => ({
    ...{
      epoch,
      step: 4 * epoch,
      lr: 0.1,
      trainLoss: 1 / epoch,
      trainAccuracy: 0.5,
    },
    ...{ validationLoss: epoch, validationAccuracy: 0.25 },
  });
  const timings = [100, 300].map((imagesPerSecond, k) => ({ epoch: k + 1, elapsedMs: 1, imagesPerSecond }));
  const test = evaluationOf(["a", "b"], [0, 1], [0, 0], 3);
  const figures = figuresOf(settings, record(1), test, { timings, elapsedMs: 1234 });
  expect(figures).toMatchObject({
    trainLoss: 1,
    validationLoss: 1,
    testLoss: 1.5,
    testAccuracy: 0.5,
    epochs: 2,
  });
  // 16 images in 160 ms, then in 53.3 ms
  expect(figures.imagesPerSecond).toBeCloseTo(150, 10);
  expect(figures.elapsedMs).toBe(1234);
  // stem 4·3·9 + 2·4; block 4·4 + 8, 4·4·9 + 8, 8·4 + 16, shortcut 8·4 + 16; classifier 3·8 + 3
  expect(figures.parameters).toBe(116 + 24 + 152 + 48 + 48 + 27);
  expect(figures.statistics).toBe(2 * (4 + 4 + 4 + 8 + 8));
  // 8×8 maps in the stem, 4×4 in the block
  expect(figures.multiplyAdds).toBe(108 * 64 + (16 + 144 + 32 + 32) * 16 + 24);
});

describe("pace", () => {
  it("is due at once, then again after a tenth of a second", () => {
    let now = 5;
    const due = throttle(() => now);
    const at = (ms: number) => {
      now = ms;
      return due();
    };
    expect([5, 50, 104, 105, 150, 210].map(at)).toEqual([true, false, false, true, false, true]);
  });

  it("estimates what remains from what was measured", () => {
    const pace = new Pace();
    expect(pace.remainingMs({ steps: 10, evaluations: 10 })).toBe(0);
    pace.step(20);
    pace.step(40);
    expect(pace.remainingMs({ steps: 10, evaluations: 6 })).toBe(300 + 60);
    pace.evaluated(4, 20);
    expect(pace.remainingMs({ steps: 10, evaluations: 6 })).toBe(300 + 30);
  });
});
