import { describe, expect, test } from "vitest";
import { Explainer } from "../../src/cam/explainer.ts";
import { gatesOf, meanByClass, summarizeGates } from "../../src/cam/gates.ts";
import { methods } from "../../src/cam/methods/registry.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { buildModel } from "../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../src/models/options.ts";
import { Variables } from "../../src/nn/scope.ts";
import { Random } from "../../src/random/random.ts";
import { UserError } from "../../src/tensor/errors.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import { difference } from "../support/compare.ts";
import { describeEngines, engines, principalEngines } from "../support/engines.ts";
import { normal } from "../support/values.ts";

const CLASSES = ["a", "b", "c"];
const small = {
  stem: { channels: 8, kernel: 3, stride: 1, pool: false },
  depths: [1, 2],
  widths: [4, 4],
  strides: [1, 2],
};

/** A network with weights that nobody trained, but whose running statistics are no longer 0 and 1. */
function network(options: Partial<ModelOptions>, image: [number, number]) {
  const model = resolveModel({ name: "resnet14", ...small, expansion: 2, ...options }, CLASSES.length);
  const variables = new Variables(3);
  buildModel(model, variables, { batch: 1, image, training: false });
  const weights = new Map(
    variables.all().map(({ name, shape, kind, initialize }) => {
      const values = new Float32Array(sizeOf(shape));
      initialize(values);
      const random = new Random("statistics", name);
      if (kind === "statistic") for (let i = 0; i < values.length; i++) values[i] += random.uniform(0.1, 0.5);
      return [name, values] as const;
    }),
  );
  return { model, image, weights, classes: CLASSES };
}

const imagesOf = (count: number, [h, w]: readonly [number, number]) =>
  Float32Array.from(normal([count, 3, h, w], "images"));

const attention = ["none", "se", "cbam", "eca"].map((name) => ({
  attention: name,
  ...(name === "se" || name === "cbam" ? { attentionOptions: { reduction: 2 } } : {}),
}));
const all = [...methods.values()].map((method) => ({
  method,
  ...("samples" in method.options && { options: { samples: 3 } }),
}));

async function explained(
  engine: Engine,
  layers: string[],
  options: Partial<ModelOptions>,
  size: [number, number],
) {
  const explainer = new Explainer(network(options, size), engine);
  const result = await explainer.maps({ images: imagesOf(3, size), methods: all, layers });
  explainer.close();
  return result;
}

// layers of every kind: behind an addition, within a block, before a normalisation that is folded, pooled, the stem
const LAYERS = ["layer2", "layer2.0.conv2", "layer2.0.bn3", "layer1.0.bn1", "bn1", "conv1"];

describe.each(attention)("every method at every kind of layer, %j", (options) => {
  const [reference, ...others] = engines;
  test.each(others)(
    "$title agrees with the reference engine",
    async ({ engine }) => {
      const size: [number, number] = [10, 9];
      const expected = await explained(reference.engine, LAYERS, options, size);
      const actual = await explained(engine, LAYERS, options, size);
      expect(difference(actual.logits, expected.logits, [3, 3], 1e-4)).toBeUndefined();
      const wrong = expected.maps.flatMap(({ method, layer, height, width, values }, k) => {
        // a principal component near another of equal size, and a softmax of many scores, amplify rounding
        const tolerance = /eigen|score|ablation/.test(method.name) ? 1e-2 : 1e-3;
        const found = difference(actual.maps[k].values, values, [3, height, width], tolerance);
        return found ? [`${method.name} at ${layer}: ${found}`] : [];
      });
      expect(wrong).toEqual([]);
    },
    60_000,
  );
});

describeEngines(
  "the host",
  (engine) => {
    const size: [number, number] = [8, 8];
    const open = (options: Partial<ModelOptions> = {}) => new Explainer(network(options, size), engine);

    test("explains a batch as it explains its images one by one", async () => {
      const explainer = open({ attention: "cbam", attentionOptions: { reduction: 2 } });
      const images = imagesOf(3, size);
      const whole = await explainer.maps({ images, methods: all });
      for (let k = 0; k < 3; k++) {
        const own = images.slice(k * 192, (k + 1) * 192);
        const one = await explainer.maps({ images: own, methods: all });
        expect(one.targets[0]).toEqual(whole.targets[k]);
        one.maps.forEach(({ values, height, width, method }, m) => {
          const length = height * width;
          const part = whole.maps[m].values.subarray(k * length, (k + 1) * length);
          const found = difference(values, part, [height, width], 1e-3);
          expect(found && `${method.name}: ${found}`).toBeUndefined();
        });
      }
      explainer.close();
    }, 60_000);

    test("explains more images than one run of the engine takes", async () => {
      const explainer = open();
      const images = imagesOf(70, size);
      const method = methods.get("grad-cam")!;
      const whole = await explainer.maps({ images, methods: [{ method }] });
      const last = await explainer.maps({ images: images.slice(69 * 192), methods: [{ method }] });
      expect(whole.maps[0].values.length).toBe(70 * 16);
      const end = whole.maps[0].values.slice(69 * 16);
      expect(difference(last.maps[0].values, end, [4, 4], 1e-4)).toBeUndefined();
      explainer.close();
    }, 60_000);

    test("explains the predicted class, a given one, or one against another", async () => {
      const explainer = open();
      const images = imagesOf(1, size);
      const methods_ = [{ method: methods.get("hires-cam")! }];
      const of = async (target?: { class: number; against?: number }) => {
        const result = await explainer.maps({
          images,
          methods: methods_,
          ...(target && { targets: [target] }),
        });
        return { target: result.targets[0], map: [...result.maps[0].values] };
      };
      const predicted = await of();
      expect((await of(predicted.target)).map).toEqual(predicted.map);
      const [one, two, both] = [
        await of({ class: 0 }),
        await of({ class: 1 }),
        await of({ class: 0, against: 1 }),
      ];
      // gradients are linear in what is explained
      const expected = one.map.map((value, i) => value - two.map[i]);
      expect(difference(both.map, expected, [4, 4], 1e-3)).toBeUndefined();
      await expect(of({ class: 3 })).rejects.toThrow("class 3: the model has classes 0 to 2");
      explainer.close();
    });

    test("where logits are equal explains the first of the classes alone", async () => {
      const given = network({}, size);
      const weights = new Map(given.weights);
      const fc = weights.get("fc.weight")!.slice();
      fc.copyWithin(fc.length / 3, 0, fc.length / 3);
      weights.set("fc.weight", fc).set("fc.bias", Float32Array.of(5, 5, -5));
      const explainer = new Explainer({ ...given, weights }, engine);
      const method = methods.get("grad-cam")!;
      const images = imagesOf(1, size);
      const found = await explainer.maps({ images, methods: [{ method }] });
      expect(found.targets).toEqual([{ class: 0 }]);
      const alone = await explainer.maps({ images, methods: [{ method }], targets: [{ class: 0 }] });
      expect(found.maps[0].values).toEqual(alone.maps[0].values);
      explainer.close();
    });

    test("smooth-grad without noise is the gradients themselves", async () => {
      const explainer = open();
      const { maps } = await explainer.maps({
        images: imagesOf(2, size),
        methods: [
          { method: methods.get("gradients")! },
          { method: methods.get("smooth-grad")!, options: { samples: 2, noise: 0 } },
        ],
      });
      expect(maps[0]).toMatchObject({ layer: "image", height: 8, width: 8 });
      expect(difference(maps[1].values, maps[0].values, [2, 8, 8], 1e-5)).toBeUndefined();
      explainer.close();
    });

    test("shows the gates: what SE and ECA multiply channels by, CBAM channels and pixels", async () => {
      const names = async (options: Partial<ModelOptions>) => {
        const explainer = open(options);
        const gates = await gatesOf(explainer, imagesOf(2, size));
        explainer.close();
        return gates;
      };
      expect(await names({})).toEqual([]);
      const [se] = await names({ attention: "se", attentionOptions: { reduction: 2 } });
      expect(se).toMatchObject({ layer: "layer1.0.se.gate", stage: "layer1", kind: "channel", shape: [8] });
      expect(se.values.length).toBe(16);
      expect(se.values.every((value) => value > 0 && value < 1)).toBe(true);
      expect((await names({ attention: "eca" }))[0]).toMatchObject({ kind: "channel", shape: [8] });
      const cbam = await names({ attention: "cbam", attentionOptions: { reduction: 2 } });
      expect(cbam.slice(0, 2)).toMatchObject([
        { layer: "layer1.0.se.channel.gate", kind: "channel", shape: [8] },
        { layer: "layer1.0.se.spatial.gate", kind: "spatial", shape: [8, 8] },
      ]);
      const [first] = summarizeGates([
        { ...se, values: Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? 0.25 : 0.75)) },
      ]);
      // each channel 0.25 in one image, 0.75 in the other: 0.5 on the average, and nothing is chosen
      expect(first).toMatchObject({ mean: 0.5, deviation: 0, lowest: 0.5, highest: 0.5 });
      const constant = (value: number) => ({ ...se, values: new Float32Array(16).fill(value) });
      expect(summarizeGates([constant(0.25), constant(0.75)])[0]).toMatchObject({
        ...{ modules: 2, mean: 0.5, deviation: 0, lowest: 0.25, highest: 0.75 },
      });
      const onePixel = await names({
        ...{ attention: "cbam", attentionOptions: { reduction: 2 } },
        ...{ stem: "imagenet", depths: [1, 1, 1, 1], widths: [4, 4, 4, 4], strides: [1, 2, 2, 2] },
      });
      expect(onePixel.at(-1)).toMatchObject({ kind: "spatial", shape: [1, 1] });
      expect(summarizeGates(cbam).map(({ stage, kind, modules }) => [stage, kind, modules])).toEqual([
        ["layer1", "channel", 1],
        ["layer1", "spatial", 1],
        ["layer2", "channel", 2],
        ["layer2", "spatial", 2],
      ]);
    });

    test("says that a map is of one pixel, with layers that would do", async () => {
      const explainer = open({
        stem: "imagenet",
        depths: [1, 1, 1, 1],
        widths: [4, 4, 4, 4],
        strides: [1, 2, 2, 2],
      });
      expect(explainer.defaultLayer).toBe("layer1");
      const method = methods.get("grad-cam")!;
      const { notes } = await explainer.maps({
        images: imagesOf(1, size),
        methods: [{ method }],
        layers: ["layer4"],
      });
      expect(notes).toEqual([
        "layer4 is 1×1 for images of 8×8: its maps say nothing of places; there are layer1 (2×2), maxpool (2×2), bn1 (4×4), conv1 (4×4)",
      ]);
      const unasked = await explainer.maps({ images: imagesOf(1, size), methods: [{ method }] });
      expect(unasked.maps[0].layer).toBe("layer1");
      expect(unasked.notes[0]).toBe("layer4 is 1×1 for images of 8×8: maps are taken at layer1 instead");
      explainer.close();
    });

    test("says that a method divided by a score below 0", async () => {
      const explainer = open({});
      const images = imagesOf(2, size);
      const { logits } = await explainer.maps({ images, methods: [{ method: methods.get("grad-cam")! }] });
      const rows = [0, 1].map((k) => [
        ...logits.subarray(k * explainer.classes, (k + 1) * explainer.classes),
      ]);
      const targets = rows.map((row) => ({
        class: row.indexOf(Math.min(...row)),
        against: row.indexOf(Math.max(...row)),
      }));
      const asked = ["grad-cam", "ablation-cam"].map((name) => ({ method: methods.get(name)! }));
      const { notes } = await explainer.maps({ images, methods: asked, targets });
      expect(notes.filter((note) => note.includes("2 of 2 scores are below 0"))).toEqual([
        expect.stringMatching(/^ablation-cam: /),
      ]);
      explainer.close();
    });

    test("says that maps are 0 or the same throughout", async () => {
      const given = network({}, size);
      const weights = new Map(given.weights).set("fc.weight", new Float32Array(sizeOf([3, 8])));
      const explainer = new Explainer({ ...given, weights }, engine);
      const { notes } = await explainer.maps({
        ...{ images: imagesOf(2, size), methods: [{ method: methods.get("grad-cam")! }] },
      });
      expect(notes[0]).toMatch(
        /^grad-cam at layer2: 2 of 2 maps are 0 or the same throughout, .* such as layer2 \(4×4\)/,
      );
      explainer.close();
    });

    test("refuses a layer that does not exist, with the nearest", async () => {
      const explainer = open();
      const asked = { images: imagesOf(1, size), methods: [{ method: methods.get("grad-cam")! }] };
      const error = await explainer.maps({ ...asked, layers: ["layre2"] }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).message).toMatch(
        /^layer "layre2": .* did you mean layer2\? there are layer2 \(4×4\), layer1 \(8×8\)/,
      );
      explainer.close();
    });
  },
  principalEngines,
);

test("gates are averaged by true class, 0 where there is no image", () => {
  const gate = {
    layer: "g",
    stage: "g",
    kind: "channel" as const,
    shape: [2],
    values: Float32Array.of(1, 2, 3, 4, 5, 6),
  };
  expect([...meanByClass(gate, [1, 1, 0], 3)]).toEqual([5, 6, 2, 3, 0, 0]);
});
