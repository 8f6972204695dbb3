import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { Loader, type LoaderOptions } from "../../../src/data/loader.ts";
import { epochOrder, normalizationTable, prepareBatch } from "../../../src/data/prepare.ts";
import { drawShapes } from "../../../src/data/sources/shapes.ts";
import { temporaryFolder, writeTree } from "./helpers.ts";

const { train: split } = drawShapes({ train: 50, test: 10, size: 16 });

const training: LoaderOptions = {
  split,
  indices: Uint32Array.from({ length: 45 }, (_, i) => i + 5),
  height: 16,
  width: 16,
  batch: 10,
  normalization: { mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3] },
  augmentation: { crop: { padding: 4 }, flip: true, cutout: { size: 6 } },
  seed: 3,
  shuffle: true,
};

function start(options: LoaderOptions): Loader {
  const loader = new Loader(options);
  onTestFinished(() => loader.close());
  return loader;
}

/** What the batch must be, computed without a thread. */
function expected(options: LoaderOptions, epoch: number, step: number) {
  const plan = { ...options, indices: options.indices!, images: split.images, labels: split.labels };
  const images = new Float32Array(options.batch * 3 * 16 * 16);
  const labels = new Float32Array(options.batch);
  const table = normalizationTable(options.normalization);
  const count = prepareBatch(plan, epochOrder(plan, epoch), table, epoch, step, images, labels);
  return { count, images: [...images.subarray(0, count * 3 * 256)], labels: [...labels.subarray(0, count)] };
}

async function take(loader: Loader, epoch: number, step: number) {
  const { images, labels, count } = await loader.batch(epoch, step);
  return { count, images: [...images], labels: [...labels] };
}

describe("Loader", () => {
  test("gives what prepareBatch gives, over epochs, in sequence and out of it", async () => {
    const loader = start(training);
    expect(loader.stepsPerEpoch).toBe(5);
    for (let i = 0; i < 12; i++) {
      const [epoch, step] = [Math.floor(i / 5), i % 5];
      expect(await take(loader, epoch, step)).toEqual(expected(training, epoch, step));
    }
    for (const [epoch, step] of [
      [7, 3],
      [7, 4],
      [8, 0],
      [0, 2],
      [0, 2],
      [7, 4],
      [0, 0],
      [0, 1],
    ]) {
      expect(await take(loader, epoch, step)).toEqual(expected(training, epoch, step));
    }
    expect((await loader.batch(0, 4)).count).toBe(5);
  });

  test("many requests at once are all served", async () => {
    const loader = start(training);
    const steps = Array.from({ length: 25 }, (_, i) => [Math.floor(i / 5), i % 5]);
    const labels = await Promise.all(steps.map(async ([e, s]) => [...(await loader.batch(e, s)).labels]));
    expect(labels).toEqual(steps.map(([e, s]) => expected(training, e, s).labels));
  });

  test("a batch stays as it is while the next two are asked for", async () => {
    const loader = start({ ...training, batch: 3 });
    const kept: { images: Float32Array; copy: number[] }[] = [];
    for (let step = 0; step < 15; step++) {
      const { images } = await loader.batch(0, step);
      kept.push({ images, copy: [...images] });
      // Time for whatever is prepared ahead to be written.
      await new Promise((resolve) => setTimeout(resolve, 5));
      for (const { images, copy } of kept.slice(-3)) expect([...images]).toEqual(copy);
    }
  });

  test("without shuffling every epoch is the list itself", async () => {
    const options = { ...training, augmentation: undefined, shuffle: false, batch: 20 };
    const loader = start(options);
    for (const [epoch, step] of [
      [0, 0],
      [0, 1],
      [0, 2],
      [0, 0],
      [0, 1],
      [0, 2],
      [4, 0],
    ]) {
      const batch = await take(loader, epoch, step);
      expect(batch).toEqual(expected(options, 0, step));
      expect(batch.labels).toEqual(
        [...options.indices!.subarray(20 * step, 20 * step + 20)].map((i) => i % 10),
      );
    }
  });

  test("an epoch of a single step", async () => {
    const loader = start({ ...training, augmentation: undefined, shuffle: false, batch: 500 });
    expect(loader.stepsPerEpoch).toBe(1);
    for (let i = 0; i < 8; i++) expect((await loader.batch(0, 0)).count).toBe(45);
  });

  test("all images when no indices are given", async () => {
    const loader = start({ ...training, indices: undefined, shuffle: false, batch: 50 });
    expect([...(await loader.batch(0, 0)).labels]).toEqual([...split.labels]);
  });

  test("rejects after it was closed, and requests that were waiting", async () => {
    const loader = new Loader(training);
    const waiting = loader.batch(0, 0);
    const closed = loader.close();
    await expect(waiting).rejects.toThrow("data loader: closed");
    await closed;
    await expect(loader.batch(0, 1)).rejects.toThrow("data loader: closed");
  });

  test.each([
    [
      "throws",
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('no memory'); });",
      "its thread has died (no memory): run the same command again",
    ],
    ["ends", "process.exit(3);", "its thread has died (exit code 3): run the same command again"],
  ])("a thread that %s rejects every request", async (_, program, message) => {
    const folder = await temporaryFolder();
    await writeTree(folder, { "worker.mjs": program });
    const loader = start({ ...training, worker: pathToFileURL(join(folder, "worker.mjs")) });
    await expect(loader.batch(0, 0)).rejects.toThrow(`data loader: ${message}`);
    await expect(loader.batch(0, 1)).rejects.toThrow(`data loader: ${message}`);
  });

  test("refuses what cannot be", async () => {
    const loader = start(training);
    await expect(loader.batch(0, 5)).rejects.toThrow("batch(0, 5): an epoch has steps 0 to 4");
    await expect(loader.batch(-1, 0)).rejects.toThrow(RangeError);
    expect(() => new Loader({ ...training, batch: 0 })).toThrow("batch: expected 1 or more images, got 0");
    expect(() => new Loader({ ...training, indices: new Uint32Array(0) })).toThrow("no images to load");
    expect(() => new Loader({ ...training, indices: Uint32Array.of(50) })).toThrow(
      "index 50: the split has 50",
    );
    expect(() => new Loader({ ...training, height: 8 })).toThrow("bytes for 50 images of 8×16×3");
  });
});
