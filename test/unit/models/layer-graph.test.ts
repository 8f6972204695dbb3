import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { buildModel } from "../../../src/models/build.ts";
import { type Layer, type LayerGraph, layerGraphSchema } from "../../../src/models/layer-graph.ts";
import { Variables } from "../../../src/nn/scope.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { loadTrained, type Trained, variablesOf, writeTrained } from "../../../src/train/trained.ts";
import { describeEngines, principalEngines } from "../../support/engines.ts";
import { evaluate } from "../../support/evaluate.ts";

const folder = mkdtempSync(join(tmpdir(), "atento-layers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Rest = { readonly kind: Layer["kind"]; readonly inputs?: string[]; readonly [key: string]: unknown };

/** Layers one after the other, named by their place. */
const chain = (classes: number, ...layers: readonly Rest[]): LayerGraph =>
  layerGraphSchema.parse({
    layers: layers.map((layer, k) => ({
      name: `l${k}`,
      inputs: [k === 0 ? "images" : `l${k - 1}`],
      ...layer,
    })),
    output: `l${layers.length - 1}`,
    classes,
  });

const images = Float64Array.from({ length: 2 * 3 * 4 * 6 }, (_, i) => ((i * 37) % 23) / 7 - 1.5);

function outputOf(layer: Rest, values: (name: string) => readonly number[] = () => []) {
  const graph = chain(
    1,
    layer,
    { kind: "globalPool", mode: "average" },
    { kind: "dense", units: 1, bias: true },
  );
  const variables = new Variables(1);
  const { nn } = buildModel(graph, variables, { batch: 2, image: [4, 6], training: false });
  const output = nn.layers.get("l0") as Tensor;
  const given = new Map(variables.tensors().map((x) => [x, values(x.label)]));
  return { shape: output.shape, values: [...evaluate([output], given, [], { images }).outputs[0]] };
}

const pixel = (n: number, c: number, h: number, w: number) => images[((n * 3 + c) * 4 + h) * 6 + w];

describe("stock layers", () => {
  test("same padding of stride 2 has its odd line at the end, as TensorFlow's", () => {
    const { shape, values } = outputOf(
      { kind: "conv", filters: 1, kernel: [3, 3], stride: [2, 2], padding: "same", bias: false },
      () => Array.from({ length: 27 }, (_, i) => (i === 0 ? 1 : 0)), // the first tap of the first channel
    );
    expect(shape).toEqual([2, 1, 2, 3]);
    expect(values.slice(0, 3)).toEqual([pixel(0, 0, 0, 0), pixel(0, 0, 0, 2), pixel(0, 0, 0, 4)]);
  });

  test("a largest value is never one of the padding", () => {
    const { values } = outputOf({
      kind: "pool",
      mode: "max",
      kernel: [3, 3],
      stride: [2, 2],
      padding: "same",
    });
    const last = [pixel(0, 0, 2, 4), pixel(0, 0, 2, 5), pixel(0, 0, 3, 4), pixel(0, 0, 3, 5)];
    expect(values[5]).toBe(Math.max(...last));
  });

  test("zeros of the padding are not averaged", () => {
    const { values } = outputOf({
      kind: "pool",
      mode: "average",
      kernel: [3, 3],
      stride: [2, 2],
      padding: "same",
    });
    const last = [pixel(0, 0, 2, 4), pixel(0, 0, 2, 5), pixel(0, 0, 3, 4), pixel(0, 0, 3, 5)];
    expect(values[5]).toBeCloseTo(last.reduce((a, b) => a + b) / 4, 12);
  });

  test("reshape and permute go by height, width, channel", () => {
    const flat = outputOf({ kind: "reshape", shape: [1, 1, -1] });
    expect(flat.shape).toEqual([2, 72, 1, 1]);
    expect(flat.values.slice(0, 4)).toEqual([
      pixel(0, 0, 0, 0),
      pixel(0, 1, 0, 0),
      pixel(0, 2, 0, 0),
      pixel(0, 0, 0, 1),
    ]);
    const turned = outputOf({ kind: "permute", order: [2, 0, 1] });
    expect(turned.shape).toEqual([2, 6, 3, 4]); // [N, C = width, H = channel, W = height]
    expect(turned.values[1]).toBe(pixel(0, 0, 1, 0));
  });

  test.each<[string, (x: number) => number]>([
    ["relu6", (x) => Math.min(Math.max(x, 0), 6)],
    ["tanh", Math.tanh],
    ["silu", (x) => x / (1 + Math.exp(-x))],
    ["leakyRelu", (x) => (x > 0 ? x : 0.3 * x)],
    ["linear", (x) => x],
  ])("%s", (name, expected) => {
    const { values } = outputOf({ kind: "activation", function: name, slope: 0.3 });
    values.forEach((y, i) => {
      expect(y).toBeCloseTo(expected(images[i]), 12);
    });
  });
});

const shared = layerGraphSchema.parse({
  layers: [
    {
      kind: "zeroPadding",
      name: "pad",
      inputs: ["images"],
      margins: [
        [1, 1],
        [1, 1],
      ],
    },
    {
      kind: "conv",
      name: "c",
      inputs: ["pad"],
      filters: 4,
      kernel: [3, 3],
      stride: [1, 1],
      padding: "valid",
      bias: true,
    },
    { kind: "batchNorm", name: "n", inputs: ["c"], eps: 1e-3, momentum: 0.1, scale: false, center: true },
    { kind: "globalPool", name: "a", inputs: ["n"], mode: "average" },
    { kind: "globalPool", name: "m", inputs: ["n"], mode: "max" },
    { kind: "dense", name: "d", inputs: ["a"], units: 2, bias: false },
    { kind: "dense", name: "d again", inputs: ["m"], units: 2, bias: false, weightsOf: "d" },
    { kind: "merge", name: "sum", inputs: ["d", "d again"], function: "add" },
  ],
  output: "sum",
  classes: 2,
});

describe("a graph of layers", () => {
  test("leaves alike zeros to the convolution and shares weights", () => {
    const variables = new Variables(0);
    buildModel(shared, variables, { batch: 1, image: [4, 6], training: true });
    const names = variables.all().map(({ name }) => name);
    expect(names).toEqual(["c.weight", "c.bias", "n.bias", "n.running_mean", "n.running_var", "d.weight"]);
  });

  test("comes back from model.safetensors as it was", async () => {
    const path = join(folder, "model.safetensors");
    const trained: Trained = {
      model: shared,
      classes: ["cat", "dog"],
      normalization: { mean: [0, 0, 0], std: [1, 1, 1] },
      image: [4, 6],
      variant: "theirs",
      assumed: ["classes"],
      weights: new Map(
        variablesOf({ model: shared, image: [4, 6] }).map(({ name, shape }) => [
          name,
          Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i / 8),
        ]),
      ),
    };
    await writeTrained(trained, path);
    expect(await loadTrained(path)).toEqual(trained);
  });

  test.each<[string, object, string]>([
    ["a layer that is not there", { output: "x" }, "there is no layer x"],
    [
      "a loop",
      { layers: [{ kind: "merge", name: "l", inputs: ["images", "l"], function: "add" }] },
      "l reads l",
    ],
    ["a kind we lack", { layers: [{ kind: "lstm", name: "l", inputs: ["images"] }] }, "kind"],
  ])("refuses %s", (_, change, says) => {
    const { error } = layerGraphSchema.safeParse({ ...shared, ...change });
    expect(JSON.stringify(error?.issues)).toContain(says);
  });
});

describeEngines(
  "gradients and values of a graph of layers agree with the oracle",
  (engine) => {
    test("in evaluation", async () => {
      const variables = new Variables(3);
      const { logits } = buildModel(shared, variables, { batch: 2, image: [4, 6], training: false });
      const store = engine.open(variables.all());
      const given = new Map(variables.tensors().map((x) => [x, store.read(x.label)]));
      const [expected] = evaluate([logits], given, [], { images }).outputs;
      const run = store.compile({ outputs: { logits }, effects: [] });
      const { logits: ours } = await run.run({ images: Float32Array.from(images) });
      expected.forEach((value, i) => {
        expect(ours[i]).toBeCloseTo(value, 4);
      });
      store.close();
    });
  },
  principalEngines,
);
