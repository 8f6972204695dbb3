import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { explain } from "../../../src/cam/explain.ts";
import { Explainer } from "../../../src/cam/explainer.ts";
import { judge, scoresOf, softmax } from "../../../src/cam/judge.ts";
import { methods } from "../../../src/cam/methods/registry.ts";
import type { MethodScores } from "../../../src/cam/record.ts";
import { normalized, sampleImages, sampleOf } from "../../../src/cam/sample.ts";
import type { Dataset } from "../../../src/data/dataset.ts";
import { drawShapes } from "../../../src/data/sources/shapes.ts";
import { createEngine } from "../../../src/engine/create.ts";
import { resolveModel } from "../../../src/models/options.ts";
import { Random } from "../../../src/random/random.ts";
import { trainSchema } from "../../../src/train/options.ts";
import { loadTrained, type Trained } from "../../../src/train/trained.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import { nativeAbsence } from "../../support/engines.ts";

const engine = createEngine();
const folder = mkdtempSync(join(tmpdir(), "atento-faithful-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let dataset: Dataset;
let trained: Trained;

describe.skipIf(nativeAbsence !== undefined)("scores on a network that was trained on shapes", () => {
  beforeAll(async () => {
    dataset = drawShapes({ train: 2000, test: 200, size: 32 });
    const { classes, fingerprint } = dataset;
    const settings = {
      ...{ variant: "plain", seed: 1 },
      model: resolveModel(
        {
          ...{ name: "resnet14", stem: { channels: 16, kernel: 3, stride: 1, pool: true } },
          ...{ depths: [1, 1, 1], widths: [16, 32, 64], strides: [1, 2, 1], expansion: 2 },
        },
        classes.length,
      ),
      data: {
        ...{ source: { source: "shapes" }, name: "shapes", fingerprint, classes },
        ...{ image: [32, 32] as const, validation: 0, normalize: "channel" as const },
      },
      train: trainSchema.parse({
        epochs: 20,
        batch: 50,
        optimizer: { name: "sgd", lr: 0.05, momentum: 0.9 },
        schedule: "cosine",
      }),
    };
    const { figures } = await trainRun({ folder, settings, dataset, engine });
    expect(figures!.testAccuracy).toBeGreaterThan(0.85);
    trained = await loadTrained(folder);
  }, 180_000);

  const of = () => {
    const sample = sampleOf(dataset);
    const { images: bytes, labels, masks } = sampleImages(dataset, sample);
    return { sample, labels, masks: masks!, images: normalized(bytes, 32 * 32, trained.normalization) };
  };

  test("the sample has as many images of every class, the same each time", () => {
    const { sample, labels } = of();
    expect(sample.length).toBe(100);
    expect(sampleOf(dataset)).toEqual(sample);
    for (let label = 0; label < 10; label++) expect(labels.filter((own) => own === label).length).toBe(10);
  });

  test("rank the object's mask above chance above everything but the object", async () => {
    const { images, masks } = of();
    const explainer = new Explainer(trained, engine);
    const { targets } = await explainer.maps({ images, methods: [{ method: methods.get("eigen-cam")! }] });
    const random = new Random("chance");
    const maps = {
      mask: Float32Array.from(masks),
      chance: Float32Array.from(masks, () => random.next()),
      inverted: Float32Array.from(masks, (value) => 1 - value),
    };
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const scores = async (map: Float32Array) => {
      const explained = {
        images,
        maps: map,
        classes: targets.map((target) => target.class),
        height: 32,
        width: 32,
      };
      const found = await scoresOf(
        explained,
        async (count, draw, classOf) => {
          const logits = await explainer.logits(count, draw);
          return Float32Array.from({ length: count }, (_, k) =>
            softmax(logits.subarray(10 * k, 10 * k + 10), classOf(k)),
          );
        },
        masks,
      );
      return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, mean(values)]));
    };
    const [mask, chance, inverted] = [
      await scores(maps.mask),
      await scores(maps.chance),
      await scores(maps.inverted),
    ];
    explainer.close();
    for (const name of ["insertion", "road", "energy", "iou", "pointing"]) {
      expect(mask[name], name).toBeGreaterThan(chance[name]);
      expect(chance[name], name).toBeGreaterThan(inverted[name]);
    }
    expect(mask["deletion"]).toBeLessThan(chance["deletion"]);
    expect(chance["deletion"]).toBeLessThan(inverted["deletion"]);
    expect(mask["drop"]).toBeLessThan(inverted["drop"]);
    expect([mask["energy"], mask["iou"], mask["pointing"], inverted["energy"]]).toEqual([1, 1, 1, 0]);
  }, 120_000);

  test("a trained network's Grad-CAM looks at the object more than chance does, and changes with the weights", async () => {
    const { images, masks } = of();
    const explainer = new Explainer(trained, engine);
    const method = methods.get("grad-cam")!;
    const { methods: judged, predicted } = await judge({
      ...{ trained, explainer, engine, images, masks, methods: [method], layer: explainer.defaultLayer },
    });
    explainer.close();
    const [{ scores }] = judged;
    const mean = (name: keyof MethodScores) =>
      scores[name]!.reduce<number>((a, b) => a + b, 0) / predicted.length;
    const share = masks.reduce((a, b) => a + b, 0) / masks.length;
    expect(mean("energy")).toBeGreaterThan(share);
    expect(mean("pointing")).toBeGreaterThan(share);
    expect(Math.abs(mean("sanity"))).toBeLessThan(0.9);
    expect(scores.sanity.some((value) => value !== 0)).toBe(true);
    expect(mean("road")).toBeGreaterThan(0);
  }, 120_000);

  test("the library explains an image: map, prediction, scores", async () => {
    const { bytes, mask, label } = {
      bytes: dataset.test.images.slice(0, 3072),
      mask: dataset.test.masks!.slice(0, 1024),
      label: dataset.test.labels[0],
    };
    const found = await explain(
      trained,
      { bytes, mask },
      { method: "layer-cam", target: dataset.classes[label], engine },
    );
    expect(found.map.length).toBe(1024);
    expect(Math.max(...found.map)).toBe(1);
    expect(found.target).toEqual({ class: label, name: dataset.classes[label] });
    expect(found.prediction.probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
    expect(Object.keys(found.scores).sort()).toEqual([
      "deletion",
      "drop",
      "energy",
      "increase",
      "insertion",
      "iou",
      "pointing",
      "road",
    ]);
    expect(found.raw).toMatchObject([{ layer: "layer3", height: 8, width: 8 }]);
    await expect(explain(trained, { bytes }, { method: "gradcam" })).rejects.toThrow(
      /did you mean grad-cam\?/,
    );
    await expect(explain(trained, { bytes }, { target: "cirle" })).rejects.toThrow(/unknown class "cirle"/);
    await expect(explain(trained, "nowhere.jpg")).rejects.toThrow(/nowhere\.jpg: no such image/);
  }, 60_000);
});
