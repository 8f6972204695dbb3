import { describe, expect, test } from "vitest";
import type { Graph, Values } from "../../src/compile/graph.ts";
import { optimize, passes } from "../../src/compile/passes/index.ts";
import { sumByWeights } from "../../src/compile/passes/weight-sums.ts";
import { sumOntoOp } from "../../src/compile/region-program.ts";
import { schedule } from "../../src/compile/schedule.ts";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { referenceEngine } from "../../src/engine/reference.ts";
import { buildModel } from "../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../src/models/options.ts";
import { Variables } from "../../src/nn/scope.ts";
import { batchNorm, batchStatistics } from "../../src/ops/batch-norm.ts";
import { conv2d, conv2dInputGradOp, conv2dWeightGradOp } from "../../src/ops/conv.ts";
import {
  add,
  broadcastTo,
  divide,
  multiply,
  relu,
  scale,
  selectEqualOp,
  sigmoid,
  sumTo,
} from "../../src/ops/elementwise.ts";
import { apply, nodeOf } from "../../src/ops/op.ts";
import { mean } from "../../src/ops/reduce.ts";
import { constant } from "../../src/ops/shape.ts";
import { input, type Shape, type Tensor } from "../../src/tensor/tensor.ts";
import { trainingGraph } from "../../src/train/graphs.ts";
import { createOptimizer } from "../../src/train/optimizers.ts";
import { normal, positive } from "../support/values.ts";

const small: ModelOptions = {
  name: "resnet14",
  stem: "pooled",
  depths: [2, 1],
  widths: [4, 8],
  strides: [1, 2],
};
const models: Record<string, ModelOptions> = {
  plain: small,
  basic: { ...small, name: "resnet18" },
  se: { ...small, attention: "se", attentionOptions: { reduction: 8 } },
  cbam: { ...small, attention: "cbam", attentionOptions: { reduction: 4 } },
  official: { ...small, attention: "cbam", attentionOptions: { reduction: 4, convention: "official" } },
  eca: { ...small, attention: "eca" },
  "one pixel": {
    ...small,
    stem: "imagenet",
    strides: [2, 2],
    attention: "cbam",
    attentionOptions: { reduction: 4 },
  },
  "identity blocks": { ...small, attention: "se", placement: "identity" },
};

const [batch, image, labels] = [3, [12, 10] as const, Float32Array.of(1, 4, 2)];
const images = normal([batch, 3, ...image], "images");
const rule = createOptimizer({ name: "sgd", lr: 0.1, momentum: 0.9 });

/** Inference of a model, with an inner tensor as a second output. */
function evaluated(options: ModelOptions) {
  const variables = new Variables(3);
  const { logits, nn } = buildModel(resolveModel(options, 5), variables, { batch, image, training: false });
  const graph: Graph = { outputs: { logits, features: nn.layers.get("layer1.0")! }, effects: [] };
  return { graph, variables, feeds: { images } as Values };
}

/** One step of training. */
function trained(options: ModelOptions) {
  const variables = new Variables(3);
  const graph = trainingGraph(resolveModel(options, 5), variables, rule, { batch, image });
  return { graph, variables, feeds: { images, labels, rates: rule.rates(0, 0.1) } as Values };
}

type Outputs = Readonly<Record<string, Float32Array>>;

/** Largest difference of any output, relative to its largest value. */
const largestError = (before: Outputs, after: Outputs) =>
  Math.max(
    ...Object.entries(before).map(([key, values]) => {
      const differences = values.map((value, i) => Math.abs(after[key][i] - value));
      return Math.max(...differences) / Math.max(1e-30, ...values.map(Math.abs));
    }),
  );

const opsOf = (graph: Graph) => schedule(graph).flatMap((x) => nodeOf(x)?.op.name ?? []);

const jobs = Object.keys(models).flatMap((name) => [
  [`inference, ${name}`, () => evaluated(models[name])] as const,
  [`training, ${name}`, () => trained(models[name])] as const,
]);

describe.each(jobs)("passes over %s", (title, make) => {
  const { graph, variables, feeds } = make();

  /** Outputs, and all variables after the run. */
  async function run(engine: Engine, asked: Graph): Promise<Outputs> {
    const store = engine.open(variables.all());
    for (const { name: at, kind, shape } of variables.all()) {
      // other than what a model starts with; of γ and β some turn over what they meet, and some leave nothing of it
      if (kind === "statistic") store.write(at, positive(shape, at));
      else if (shape.length === 1)
        store.write(
          at,
          positive(shape, at).map((x, i) => x * [1, -1, 1, 0][i % 4]),
        );
    }
    const outputs = await store.compile(asked).run(feeds);
    const after = variables.all().map(({ name }) => [name, store.read(name)] as const);
    store.close();
    return { ...outputs, ...Object.fromEntries(after) };
  }

  test("each pass keeps what is computed", async () => {
    let before = await run(referenceEngine, graph);
    let rewritten = graph;
    const errors: string[] = [];
    for (const pass of passes) {
      rewritten = pass.run(rewritten);
      const after = await run(referenceEngine, rewritten);
      if (largestError(before, after) > 1e-6) errors.push(`${pass.name}: ${largestError(before, after)}`);
      before = after;
    }
    expect(errors).toEqual([]);
  });

  test("they leave the graph they get as it is", () => {
    const ops = opsOf(graph);
    optimize(graph);
    expect(opsOf(graph)).toEqual(ops);
  });

  test("what they are for is done", () => {
    const ops = opsOf(optimize(graph));
    const count = (name: string, of = ops) => of.filter((op) => op === name).length;
    expect(count("batch_norm_inference")).toBe(0);
    expect(count("batch_statistics")).toBe(0);
    if (title.startsWith("inference")) {
      expect(count("fold_batch_norm")).toBe(count("batch_norm_inference", opsOf(graph)));
      return;
    }
    expect(count("batch_statistics_along")).toBe(count("batch_norm", opsOf(graph)));
    expect(count("conv2d_weight_grad_of_norm")).toBeGreaterThan(0);
    expect(count("batch_norm_grad_sums_along")).toBeGreaterThan(0);
    expect(count("region")).toBeGreaterThan(0);
    // where weights of a layer are fewer than what it meets
    const layers: Readonly<Record<string, number>> = {
      "training, se": 2,
      "training, cbam": 2,
      "training, official": 2,
      "training, one pixel": 2, // in its last block batch norm's results are not pooled
      "training, identity blocks": 1,
    };
    expect(count("input_sums_along")).toBe(layers[title] ?? 0);
  });

  test("two pools of a block share what they can of its MLP", () => {
    const isRecord = (op: string) => op.startsWith("conv2d") && !op.endsWith("_along");
    const convolutions = (of: Graph) => opsOf(of).filter(isRecord).length;
    // a block's first layer meets both pools in one record, and so does the second, unless it meets their sum; where
    // pools are equal (the last block of one pixel) there is one MLP; in training all that with both gradients
    const shared: Readonly<Record<string, number>> = {
      "inference, cbam": 3 * 2,
      "training, cbam": 3 * 2 * 3,
      "inference, official": 3 * 2, // biases stand between
      "training, official": 3 * 2 * 3,
      "inference, one pixel": 2 * 2 + 2,
      "training, one pixel": (2 * 2 + 2) * 3,
    };
    expect(convolutions(graph) - convolutions(optimize(graph))).toBe(shared[title] ?? 0);
  });

  test("the native engine computes the same with and without them", async ({ skip }) => {
    const [plain, optimized] = [false, true].map((on) => createEngine({ passes: on }));
    skip(plain.name !== "native", "the native engine was not built");
    const [before, after] = [await run(plain, graph), await run(optimized, graph)];
    expect(largestError(before, after)).toBeLessThan(title.startsWith("inference") ? 1e-5 : 2e-4);
  });
});

const given = (name: string, shape: Shape): Tensor => ({ ...input(name, shape), layout: "activation" });

/** What each engine makes of a graph. */
const onEach = (engines: readonly Engine[], graph: Graph, feeds: Values) =>
  Promise.all(engines.map((engine) => engine.open([]).compile(graph).run(feeds)));

test("what is computed of a gate in one walk is read before a result takes its place", async ({ skip }) => {
  const [plain, optimized] = [false, true].map((on) => createEngine({ passes: on }));
  skip(plain.name !== "native", "the native engine was not built");
  const shape = [4, 16, 1, 1];
  const [x, y] = [sigmoid(given("x", shape)), given("y", shape)];
  const graph = {
    outputs: { a: relu(multiply(x, y)), m: mean(multiply(x, add(x, y)), "channel") },
    effects: [],
  };
  const feeds = { x: normal(shape, "x"), y: normal(shape, "y") };
  const [before, after] = await onEach([plain, optimized], graph, feeds);
  expect(opsOf(optimize(graph))).toContain("region_along");
  expect(largestError(before, after)).toBeLessThan(1e-6);
});

test("what is written and what is made of it are one walk, unless a way between them leads outside", async ({
  skip,
}) => {
  const engines = [false, true].map((on) => createEngine({ passes: on }));
  skip(engines[0].name !== "native", "the native engine was not built");
  const shape = [6, 16, 1, 1];
  const names = ["v", "w", "x", "y"];
  const [v, w, gate, y] = names.map((name) => given(name, shape));
  const x = sigmoid(gate); // whose place is free after the walk, not before the sum has read it
  const weight: Tensor = { ...input("weight", [16, 16, 1, 1]), layout: "kernel" };
  const written = add(multiply(v, w), multiply(x, y));
  const sum = sumTo(multiply(written, x), [1, 16, 1, 1]);
  const outside = conv2d(written, weight);
  const graph = {
    outputs: { written, sum, apart: relu(add(multiply(written, outside), multiply(v, y))) },
    effects: [],
  };
  const feeds = Object.fromEntries(names.map((name) => [name, normal(shape, name)]));
  feeds.weight = normal([16, 16, 1, 1], "weight");
  const [before, after] = await onEach(engines, graph, feeds);
  const optimized = optimize(graph);
  const walkOf = (name: string) => {
    const result = optimized.outputs[name];
    return nodeOf(result)!.op.name === "region_along" ? nodeOf(result)!.inputs[0] : result;
  };
  expect(walkOf("sum")).toBe(walkOf("written"));
  expect(walkOf("apart")).not.toBe(walkOf("written"));
  expect(largestError(before, after)).toBeLessThan(1e-6);
});

test("what none but its own walk could read is written for another", async ({ skip }) => {
  const engines = [false, true].map((on) => createEngine({ passes: on }));
  skip(engines[0].name !== "native", "the native engine was not built");
  const shape = [6, 16, 1, 1];
  const names = ["p", "q", "r", "s", "v", "w", "x", "y"];
  const [p, q, r, s, v, w, x, y] = names.map((name) => given(name, shape));
  const shared = add(multiply(v, w), multiply(x, y));
  // the first reads more than `shared` does, and so begins the walk
  const factors = [add(multiply(p, q), multiply(r, s)), x];
  const sums = factors.map((factor) => sumTo(multiply(shared, factor), [1, 16, 1, 1]));
  const graph = { outputs: { a: sums[0], b: sums[1] }, effects: [] };
  const feeds = Object.fromEntries(names.map((name) => [name, normal(shape, name)]));
  const [before, after] = await onEach(engines, graph, feeds);
  expect(largestError(before, after)).toBeLessThan(1e-6);
});

test.each([
  [2, 40 * 40], // an image in parts
  [3, 30],
  [16, 4],
])("sums over the pixels of %i images of %i go on from others, in their place", async (n, pixels) => {
  const native = createEngine();
  const [shape, sums] = [[n, 16, pixels, 1] as const, [n, 16, 1, 1] as const];
  const [x, y, before] = [given("x", shape), given("y", shape), given("before", sums)];
  const started = relu(scale(before, 2)); // which nothing else reads
  const graph = {
    outputs: {
      sum: apply(sumOntoOp, [multiply(x, y), started], null),
      alone: apply(sumOntoOp, [x, before], null),
    },
    effects: [],
  };
  const feeds = { x: normal(shape, "x"), y: normal(shape, "y"), before: normal(sums, "before") };
  const [expected, actual] = await onEach([referenceEngine, native], graph, feeds);
  expect(largestError(expected, actual)).toBeLessThan(1e-5);
});

test.each([
  [3, 30],
  [16, 4],
])("what the pixels of %i images of %i get of a gate is made where they get it", async (n, pixels) => {
  const native = createEngine();
  const [shape, gate] = [[n, 16, pixels, 1] as const, [n, 16, 1, 1] as const];
  const x = given("x", shape);
  const [largest, gradient, winners, other] = ["a", "b", "c", "d"].map((name) => given(name, gate));
  const share = divide(gradient, winners);
  const shared = (values: Tensor, of: Tensor) => apply(selectEqualOp, [values, largest, of], null);
  const twice = scale(other, 3);
  const graph = {
    outputs: {
      one: relu(add(shared(x, share), broadcastTo(scale(other, 0.25), shape))),
      two: add(multiply(x, broadcastTo(twice, shape)), shared(relu(x), gradient)),
      outside: sigmoid(twice),
    },
    effects: [],
  };
  const values = normal(shape, "x");
  const feeds = {
    x: values,
    a: Float32Array.from({ length: n * 16 }, (_, k) => values[k * pixels + (k % pixels)]),
    b: normal(gate, "b"),
    c: positive(gate, "c"),
    d: normal(gate, "d"),
  };
  const [expected, actual] = await onEach([referenceEngine, native], graph, feeds);
  const ops = opsOf(optimize(graph));
  expect(ops.filter((op) => ["divide", "scale"].includes(op))).toEqual(["scale"]); // for what is no part of a walk
  expect(largestError(expected, actual)).toBeLessThan(1e-5);
});

test("layers that are shared in another order, of deep inputs or with padding are computed all the same", async ({
  skip,
}) => {
  const [plain, optimized] = [false, true].map((on) => createEngine({ passes: on }));
  skip(plain.name !== "native", "the native engine was not built");
  const [map, weight] = [
    [2, 16, 1, 1],
    [16, 16, 1, 1],
  ] as const;
  const [p, q] = ["p", "q"].map((name) => given(name, map));
  const [a, b] = ["a", "b"].map((name): Tensor => ({ ...input(name, weight), layout: "kernel" }));
  const deep = Array.from({ length: 3000 }).reduce<Tensor>((x) => relu(x), q);
  const padded = { stride: 3, padding: 1 };
  const graph = {
    outputs: {
      ab: conv2d(conv2d(p, a), b), // each layer once before the other: only one of them can meet both
      ba: conv2d(conv2d(q, b), a),
      shallow: conv2d(relu(p), a),
      deep: conv2d(deep, a),
      padded: conv2d(p, a, padded),
      other: conv2d(q, a, padded),
    },
    effects: [],
  };
  const shapes = { p: map, q: map, a: weight, b: weight };
  const feeds = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, normal(shape, name)]),
  );
  const [before, after] = await onEach([plain, optimized], graph, feeds);
  expect(opsOf(optimize(graph))).toContain("conv2d_pair_along");
  expect(largestError(before, after)).toBeLessThan(1e-6);
});

test("what batch norm sums of a padded layer's input gradient is not taken from its weights", async () => {
  const [map, weight] = [
    [4, 8, 1, 1],
    [2, 8, 1, 1],
  ] as const;
  const x = given("x", map);
  const w: Tensor = { ...input("w", weight), layout: "kernel" };
  const [gamma, beta] = ["gamma", "beta"].map((name) => given(name, [8]));
  const statistics = batchStatistics(x);
  const hat = batchNorm(x, statistics, constant([8], 1), constant([8], 0), 1e-3);
  const y = batchNorm(x, statistics, gamma, beta, 1e-3);
  const layer = (padding: number): Graph => {
    const dy = given("dy", [4, 2, 1, 1]);
    const attrs = { stride: [3, 3], padding: [padding, padding] } as const;
    const dx = apply(conv2dInputGradOp, [dy, w], { ...attrs, input: map });
    const dw = apply(conv2dWeightGradOp, [y, dy], { ...attrs, weight });
    const sums = [dx, multiply(dx, hat)].map((of) => sumTo(of, [1, 8, 1, 1]));
    return { outputs: { dw, sums: sums[0], products: sums[1] }, effects: [] };
  };
  const shapes = { x: map, w: weight, gamma: [8], beta: [8], dy: [4, 2, 1, 1] };
  const feeds = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, normal(shape, name)]),
  );
  for (const padding of [0, 1]) {
    const summed = sumByWeights.run(layer(padding));
    const [before, after] = [layer(padding), summed].map((graph) =>
      referenceEngine.open([]).compile(graph).run(feeds),
    );
    expect(opsOf(summed).includes("input_sums_along")).toBe(padding === 0);
    expect(largestError(await before, await after)).toBeLessThan(1e-6);
  }
});
