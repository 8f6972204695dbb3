import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { Explainer } from "../../../src/cam/explainer.ts";
import { clipped } from "../../../src/cam/map.ts";
import { methods } from "../../../src/cam/methods/registry.ts";
import { createEngine } from "../../../src/engine/create.ts";
import { readKeras, readKerasWeights } from "../../../src/exchange/keras/read.ts";
import { layersOf } from "../../../src/exchange/keras/trace.ts";
import { writeKeras } from "../../../src/exchange/keras/write.ts";
import { encodeOnnx } from "../../../src/exchange/onnx/write.ts";
import { type Hdf5Group, openHdf5 } from "../../../src/formats/hdf5.ts";
import { floatsOf, readSafetensors } from "../../../src/formats/safetensors.ts";
import { isLayerGraph } from "../../../src/models/architecture.ts";
import { IMAGES } from "../../../src/models/layer-graph.ts";
import { type ModelOptions, resolveModel } from "../../../src/models/options.ts";
import { readCase } from "../../../src/parity/case.ts";
import { Random } from "../../../src/random/random.ts";
import { loadTrained, type Trained, writeTrained } from "../../../src/train/trained.ts";
import { lookAt } from "../../support/maps.ts";
import { runOnnx } from "../../support/onnx.ts";
import { sharedFolder } from "../../support/shared.ts";
import { largestDifference, logitsOf, madeUp, madeUpSmall, probabilitiesOf } from "../../support/trained.ts";

const folder = mkdtempSync(join(tmpdir(), "atento-keras-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const engine = createEngine({});

const golden = sharedFolder("golden");
const tensorsOf = (path: string) => {
  const { tensors } = readSafetensors(readFileSync(`${golden.path}/${path}`));
  return (name: string) => floatsOf(tensors.get(name)!);
};

function expectedOf(name: string): number[] {
  return probabilitiesOf(tensorsOf(`${name}/expect.safetensors`)("eval.logits"), 10);
}

/** A case's model as one of ours. */
async function ofCase(name: string): Promise<Trained> {
  const { model, image } = await readCase(`${golden.path}/${name}`);
  return madeUp(model, image);
}

describe.skipIf(golden.absence)("files that Keras wrote", () => {
  test.each(["plain", "se", "cbam", "se-study"].flatMap((name) => [`${name}.keras2`, `${name}.keras3`]))(
    "%s.h5 gives the case's probabilities",
    async (file) => {
      const [name] = file.split(".");
      const trained = await readKeras(`${golden.path}/keras/${file}.h5`);
      const logits = await logitsOf(trained, tensorsOf(`${name}/batch.safetensors`)("images"), engine);
      expect(largestDifference(probabilitiesOf(logits, 10), expectedOf(name))).toBeLessThan(1e-5);
      expect(trained.assumed).toEqual(["classes", "normalization"]);
      expect(isLayerGraph(trained.model)).toBe(true);
    },
  );

  test.each(["plain.keras2", "se.keras3", "cbam.keras2", "cbam.keras3"])(
    "%s.h5 is explained by the maps of pytorch-grad-cam",
    async (file) => {
      const [name] = file.split(".");
      const trained = await readKeras(`${golden.path}/keras/${file}.h5`);
      const explainer = new Explainer(trained, engine);
      try {
        const images = tensorsOf(`${name}/batch.safetensors`)("images");
        const asked = ["grad-cam", "layer-cam"].map((method) => ({ method: methods.get(method)! }));
        const { count, maps } = await explainer.maps({ images, methods: asked });
        for (const { method, values } of maps) {
          const expected = tensorsOf(`${name}/expect.safetensors`)(`cam.${method.name.replace("-", "")}`);
          expect(values).toHaveLength(expected.length);
          const size = values.length / count;
          const shown = Array.from({ length: count }, (_, k) => [
            ...clipped(values.slice(k * size, (k + 1) * size)),
          ]).flat();
          expect(Math.max(...expected)).toBeGreaterThan(0.9);
          expect(largestDifference(shown, expected), method.name).toBeLessThan(1e-4);
        }
      } finally {
        explainer.close();
      }
    },
  );

  test("a model trained by Keras, its optimiser beside, gives Keras' probabilities", async () => {
    const trained = await readKeras(`${golden.path}/keras/se-trained.keras2.h5`);
    const logits = await logitsOf(trained, tensorsOf("se/batch.safetensors")("images"), engine);
    const expected = tensorsOf("keras/se-trained.safetensors")("probabilities");
    expect(largestDifference(probabilitiesOf(logits, 10), expected)).toBeLessThan(1e-5);
  });

  test.each([
    ["plain", "plain.keras2-weights.h5", "plain.keras3.h5"],
    ["plain", "plain.keras3.weights.h5", "plain.keras2.h5"],
    ["cbam", "cbam.keras2-weights.h5", "cbam.keras3.h5"],
    ["cbam", "cbam.keras3.weights.h5", "cbam.keras2.h5"],
    ["plain", "plain.keras2-weights.h5", "ours"],
    ["plain", "plain.keras3.weights.h5", "ours"],
    ["cbam", "cbam.keras2-weights.h5", "ours"],
    ["cbam", "cbam.keras3.weights.h5", "ours"],
  ])("weights only: %s of %s into the model of %s", async (name, weights, whole) => {
    const into = whole === "ours" ? await ofCase(name) : await readKeras(`${golden.path}/keras/${whole}`);
    const empty = { ...into, weights: new Map([...into.weights].map(([key, x]) => [key, x.map(() => 0)])) };
    const trained = await readKerasWeights(`${golden.path}/keras/${weights}`, empty);
    const logits = await logitsOf(trained, tensorsOf(`${name}/batch.safetensors`)("images"), engine);
    expect(largestDifference(probabilitiesOf(logits, 10), expectedOf(name))).toBeLessThan(1e-5);
  });
});

describe("small files that Keras wrote", () => {
  const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/keras/${name}`, import.meta.url));
  const expectedOf = (name: string) => JSON.parse(readFileSync(fixture(`${name}.json`), "utf8"));
  const [height, width] = [14, 11];
  // sin(0.7·i), i counted along height, width, channels
  const images = Float32Array.from({ length: 2 * 3 * height * width }, (_, at) => {
    const [map, pixel] = [Math.floor(at / (height * width)), at % (height * width)];
    const [n, c] = [Math.floor(map / 3), map % 3];
    return Math.sin(0.7 * ((n * height * width + pixel) * 3 + c));
  });
  const probabilities = async (trained: Trained) =>
    probabilitiesOf(await logitsOf(trained, images, engine), 4);

  test.each([
    ["layers of many kinds", "small.keras2"],
    ["layers of many kinds", "small.keras3"],
    ["models inside the model, whose layers are called alike", "nested.keras2"],
    ["models inside the model, whose layers are called alike", "nested.keras3"],
  ])("%s: %s", async (_, name) => {
    const trained = await readKeras(fixture(`${name}.h5`));
    expect(trained).toMatchObject({ image: [height, width], variant: name.split(".")[0] });
    expect(largestDifference(await probabilities(trained), expectedOf(name))).toBeLessThan(1e-6);
    await writeTrained(trained, at(`${name}.safetensors`));
    expect(await loadTrained(at(`${name}.safetensors`))).toEqual(trained);
    await writeKeras(trained, at(`${name}.h5`), { weightsOnly: false });
    expect((await readKeras(at(`${name}.h5`))).assumed).toEqual(["classes", "normalization"]);
  });

  test.each(["nested.keras2.h5", "nested.keras3.h5", "nested.keras3.weights.h5"])(
    "weights of %s into a nested model",
    async (file) => {
      const [name, version] = file.split(".");
      const into = await readKeras(fixture(`${name}.${version === "keras2" ? "keras3" : "keras2"}.h5`));
      const trained = await readKerasWeights(fixture(file), into);
      expect(largestDifference(await probabilities(trained), expectedOf(`${name}.${version}`))).toBeLessThan(
        1e-6,
      );
    },
  );

  test.each(["small.keras2.h5", "small.keras3.h5", "nested.keras3.h5"])(
    "%s is the same in ONNX, map included",
    async (file) => {
      const trained = await readKeras(fixture(file));
      const image = { shape: [2, 3, height, width], values: images };
      const { logits, map } = await runOnnx(encodeOnnx(trained), { image });
      const ours = await lookAt(trained, engine, images);
      expect(largestDifference(logits.values, ours.logits)).toBeLessThan(1e-5);
      expect(map.shape).toEqual([2, height, width]);
      expect(Math.max(...map.values)).toBeCloseTo(1, 5);
      expect(largestDifference(map.values, ours.map)).toBeLessThan(1e-4);
    },
  );

  // auto-named, its shortcut before the rest of its block, dense layers in SE: nothing but the order tells what is what
  test.each(["theirs.keras2-weights.h5", "theirs.keras2.weights.h5", "theirs.keras3.weights.h5"])(
    "weights of %s into a ResNet of ours with other names",
    async (file) => {
      const trained = await readKerasWeights(fixture(file), theirs([4, 6]));
      const [name] = file.split("-weights")[0].split(".weights");
      expect(largestDifference(await probabilities(trained), expectedOf(name))).toBeLessThan(1e-6);
    },
  );

  test("weights whose order does not fit are refused with the list", async () => {
    const refusal = readKerasWeights(fixture("theirs.keras2-weights.h5"), theirs([4, 8]));
    await expect(refusal).rejects.toThrow(
      /theirs\.keras2-weights\.h5: its tensors do not fit the model: its layers have other names, and in order conv2d_\d has \[3,3,4,6\], layer2\.0\.conv1 expects \[3,3,4,8\]; /,
    );
  });

  function theirs(widths: number[]): Trained {
    const options = { name: "resnet18", depths: [1, 1], widths, strides: [1, 1], attention: "se" };
    const stem = { channels: 4, kernel: 3, stride: 1, pool: false };
    const model = resolveModel({ ...options, stem, attentionOptions: { reduction: 2 } }, 4);
    return madeUp(model, [height, width]);
  }
});

describe("weights in an order that leaves open which is which", () => {
  test("are refused", async () => {
    const options = { depths: [1], widths: [4], strides: [1], expansion: 2 };
    // a block's last convolution and its shortcut's have the same shape, and so have the norms behind them
    const trained = madeUpSmall({ ...options, stem: { channels: 4, kernel: 3, stride: 1, pool: false } });
    const { model, weights } = layersOf(trained);
    const other = (name: string) => (name === IMAGES ? name : `other_${name}`);
    const layers = model.layers.map((layer) => ({
      ...layer,
      name: other(layer.name),
      inputs: layer.inputs.map(other),
    }));
    const renamed = {
      ...trained,
      model: { ...model, layers, output: other(model.output) },
      weights: new Map([...weights].map(([name, values]) => [other(name), values])),
    };
    await writeKeras(renamed, at("open.h5"), { weightsOnly: true });
    expect(await readKerasWeights(at("open.h5"), renamed)).toEqual(renamed);
    await expect(readKerasWeights(at("open.h5"), trained)).rejects.toThrow(
      "its layers have other names, and their order leaves open which is which",
    );
  });
});

const variants: readonly (readonly [string, ModelOptions])[] = [
  ["plain", {}],
  ["the study's stem", { stem: "study", strides: [1, 1], attention: "se", placement: "identity" }],
  ["ImageNet's stem", { stem: "imagenet" }],
  ["basic blocks", { name: "resnet18", expansion: 1 }],
  ["SE", { attention: "se", attentionOptions: { reduction: 4 } }],
  ["SE without bias", { attention: "se", attentionOptions: { reduction: 4, bias: false } }],
  ["CBAM", { attention: "cbam", attentionOptions: { reduction: 4 } }],
  ["CBAM, official", { attention: "cbam", attentionOptions: { reduction: 4, convention: "official" } }],
  ["ECA", { attention: "eca" }],
];

const images = Float32Array.from({ length: 4 * 3 * 16 * 16 }, (_, i) => new Random("images", i).normal());

describe("files of ours", () => {
  test.each(variants)(
    "%s: comes back as the same model, and as layers with the same logits",
    async (title, options) => {
      const trained = madeUpSmall(options);
      const path = at(`${title}.h5`);
      await writeKeras(trained, path, { weightsOnly: false });
      expect(await readKeras(path)).toEqual(trained);
      const logits = await logitsOf(trained, images, engine);
      const layers = await readKeras(path, {}, { asLayers: true });
      expect(isLayerGraph(layers.model)).toBe(true);
      expect(largestDifference(await logitsOf(layers, images, engine), logits)).toBeLessThan(1e-5);
      const weightsPath = at(`${title}.weights.h5`);
      await writeKeras(trained, weightsPath, { weightsOnly: true });
      const empty = new Map([...trained.weights].map(([key, x]) => [key, x.map(() => 0)]));
      expect(await readKerasWeights(weightsPath, { ...trained, weights: empty })).toEqual(trained);
    },
  );

  test("what was read is written again with the same logits", async () => {
    await writeKeras(madeUpSmall({ attention: "cbam", attentionOptions: { reduction: 4 } }), at("first.h5"), {
      weightsOnly: false,
    });
    const layers = await readKeras(at("first.h5"), {}, { asLayers: true });
    await writeKeras(layers, at("second.h5"), { weightsOnly: false });
    const again = await readKeras(at("second.h5"));
    const [a, b] = await Promise.all([layers, again].map((model) => logitsOf(model, images, engine)));
    expect(largestDifference(a, b)).toBeLessThan(1e-6);
  });

  test.each(variants)(
    "%s: has every group that Keras' own writers give such a model",
    async (title, options) => {
      const trained = madeUpSmall(options);
      const path = at(`${title} layout.h5`);
      await writeKeras(trained, path, { weightsOnly: false });
      const root = await openHdf5(path);
      const { config } = JSON.parse(root.text("model_config")!) as { config: { layers: Written[] } };
      expect(root.names).toEqual(["model_weights"]);
      for (const group of [root, root.group("model_weights")!]) {
        expect(group.text("backend")).toBe("tensorflow");
        expect(group.text("keras_version")).toMatch(/^2\./);
      }
      expect(JSON.parse(root.text("training_config")!)).toMatchObject({
        loss: "sparse_categorical_crossentropy",
        optimizer_config: { class_name: "Adam" },
      });
      expectWeights(root.group("model_weights")!, config.layers, trained);
      await writeKeras(trained, path, { weightsOnly: true });
      expectWeights(await openHdf5(path), config.layers, trained);
    },
  );

  test("has layers in Keras' order: by the longest way to the output", async () => {
    await writeKeras(madeUpSmall({ attention: "cbam", attentionOptions: { reduction: 4 } }), at("order.h5"), {
      weightsOnly: false,
    });
    const { config } = JSON.parse((await openHdf5(at("order.h5"))).text("model_config")!);
    const layers: readonly Written[] = config.layers;
    const depths = new Map<string, number>();
    // readers of a layer come behind it
    for (const { name, inbound_nodes: calls } of [...layers].reverse()) {
      const depth = depths.get(name) ?? 0;
      depths.set(name, depth);
      for (const [source] of calls.flat()) depths.set(source, Math.max(depths.get(source) ?? 0, depth + 1));
    }
    const listed = layers.map(({ name }) => depths.get(name)!);
    expect(listed).toEqual([...listed].sort((a, b) => b - a));
    expect(new Set(layers.map(({ class_name: type }) => type))).toEqual(
      new Set([
        ...["InputLayer", "Conv2D", "BatchNormalization", "Activation", "ZeroPadding2D", "Add", "Multiply"],
        ...["GlobalAveragePooling2D", "GlobalMaxPooling2D", "Concatenate", "Reshape", "Permute", "Dense"],
      ]),
    );
  });
});

interface Written {
  readonly class_name: string;
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly inbound_nodes: readonly (readonly [
    source: string,
    call: number,
    tensor: number,
    given: object,
  ])[][];
}

/**
 * Weights as `save_weights_to_hdf5_group` and `save_subset_weights_to_hdf5_group` lay them out: tf_keras 2.21.0,
 * src/saving/legacy/hdf5_format.py, and Keras 3.15.1, src/legacy/saving/legacy_h5_format.py, which are alike: all layers
 * in `layer_names`, a group for each, its weights in `weight_names` (those that are trained first) and at these paths,
 * and `top_level_model_weights`. Weights are named and shaped by `build` of the layers.
 */
function expectWeights(group: Hdf5Group, layers: readonly Written[], trained: Trained): void {
  const names = layers.map(({ name }) => name);
  expect(group.texts("layer_names")).toEqual(names);
  expect([...group.names].sort()).toEqual([...names, "top_level_model_weights"].sort());
  expect(group.group("top_level_model_weights")!.texts("weight_names")).toEqual([]);
  expect(group.group("top_level_model_weights")!.names).toEqual([]);
  let values = 0;
  for (const { class_name: type, name, config } of layers) {
    const own = group.group(name)!;
    const bias = config["use_bias"] ? ["bias"] : [];
    const weights =
      type === "BatchNormalization"
        ? ["gamma", "beta", "moving_mean", "moving_variance"]
        : ["Conv2D", "Dense"].includes(type)
          ? ["kernel", ...bias]
          : [];
    const paths = weights.map((weight) => `${name}/${weight}:0`);
    expect(own.texts("weight_names"), name).toEqual(paths);
    expect(own.names, name).toEqual(weights.length > 0 ? [name] : []);
    if (weights.length > 0) {
      expect([...own.group(name)!.names].sort(), name).toEqual(weights.map((weight) => `${weight}:0`).sort());
    }
    for (const path of paths) {
      const { shape, type: numbers } = own.dataset(path)!;
      expect(numbers.name, path).toBe("float32");
      const outputs = (config["filters"] ?? config["units"] ?? shape[0]) as number;
      const size = shape.reduce((a, b) => a * b, 1);
      const extents = (config["kernel_size"] ?? []) as number[];
      const inputs = size / outputs / extents.reduce((a, b) => a * b, 1);
      expect(shape, path).toEqual(path.endsWith("kernel:0") ? [...extents, inputs, outputs] : [outputs]);
      values += size;
    }
  }
  // nothing of the model is left out
  expect(values).toBe([...trained.weights.values()].reduce((sum, { length }) => sum + length, 0));
}
