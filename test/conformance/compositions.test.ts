import { describe, expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { buildModel } from "../../src/models/build.ts";
import { resolveModel } from "../../src/models/options.ts";
import { conv, dense, norm, torchBatchNorm } from "../../src/nn/layers.ts";
import { Scope, Variables } from "../../src/nn/scope.ts";
import { add, multiply, relu, scale, sigmoid, sumTo } from "../../src/ops/elementwise.ts";
import { crossEntropy } from "../../src/ops/loss.ts";
import { avgPool2d, maxPool2d } from "../../src/ops/pool.ts";
import { globalAvgPool, globalMaxPool, max, mean } from "../../src/ops/reduce.ts";
import { concat, constant, reshape, row } from "../../src/ops/shape.ts";
import { input, type Shape, type Tensor } from "../../src/tensor/tensor.ts";
import { type GraphOptions, trainingGraph } from "../../src/train/graphs.ts";
import { createOptimizer } from "../../src/train/optimizers.ts";
import { expectNone } from "../support/compare.ts";
import { describeEngines, nativeFamilies } from "../support/engines.ts";
import { bitDifferences, differences, type Runnable, runOn, runOnOracle } from "../support/graphs.ts";
import { classes, normal } from "../support/values.ts";

/** Rounding grows from layer to layer, most of all through batch statistics of few values. */
const tolerance = 2e-4;

/** A function of an input x [N,C,H,W] with layers of its own: outputs, and gradients of everything trained. */
function layered(shape: Shape, build: (x: Tensor, nn: Scope) => Tensor, training = true): Runnable {
  const variables = new Variables(7);
  const nn = Scope.root(variables, { training, batchNorm: torchBatchNorm });
  const x = input("x", shape);
  const y = build(x, nn);
  const seed = input("dy", y.shape);
  const targets = [x, ...variables.tensors("parameter")];
  const gradients = gradient(y, seed, targets);
  const named = Object.fromEntries(targets.map(({ label }, k) => [`grad ${label}`, gradients[k]]));
  const feeds = (run: string) => ({ x: normal(shape, `x ${run}`), dy: normal(y.shape, `dy ${run}`) });
  return {
    variables,
    graph: { outputs: { y, ...named }, effects: nn.effects },
    runs: [feeds("first"), feeds("second")],
  };
}

/** Steps of training of a small model. */
function trained(
  options: Parameters<typeof resolveModel>[0],
  optimizer: Parameters<typeof createOptimizer>[0],
  [batch, height, width]: readonly [number, number, number],
  steps = 2,
  more: GraphOptions = {},
): Runnable {
  const model = resolveModel(options, 5);
  const variables = new Variables(3);
  const rule = createOptimizer(optimizer);
  const image = [height, width] as const;
  const graph = trainingGraph(model, variables, rule, { batch, image, labelSmoothing: 0.1, ...more });
  const runs = Array.from({ length: steps }, (_, step) => ({
    images: normal([batch, 3, height, width], "images"),
    labels: classes(5)([batch], "labels"),
    rates: rule.rates(step, rule.options.lr),
    ...(more.bodyRate && { bodyRates: rule.rates(step, more.bodyRate * rule.options.lr) }),
  }));
  return { variables, graph, runs };
}

const counting = (values: Float32Array) => values.set(values.map((_, i) => i - 5));

const stem = { channels: 5, kernel: 3, stride: 1, pool: true };
const small = { name: "resnet50", stem, depths: [1, 2], widths: [3, 5], expansion: 3 };
const basic = { name: "resnet18", stem: { ...stem, pool: false }, depths: [1, 1], widths: [7, 9] };
const sgd = { name: "sgd", lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 5e-4 } as const;

const compositions: Readonly<Record<string, () => Runnable>> = {
  "convolution, batch norm, ReLU, convolution": () =>
    layered([3, 5, 7, 6], (x, nn) => {
      const y = relu(norm("bn1", conv("conv1", x, nn, 17, { kernel: 3 }), nn));
      return norm("bn2", conv("conv2", y, nn, 9, { kernel: 1 }), nn);
    }),
  "the same in evaluation": () =>
    layered(
      [2, 5, 7, 6],
      (x, nn) => {
        const y = relu(norm("bn1", conv("conv1", x, nn, 17, { kernel: 3, stride: 2 }), nn));
        return relu(norm("bn2", conv("conv2", y, nn, 7, { kernel: 3 }), nn)); // too narrow for tiles, which spread NaN
      },
      false,
    ),
  "ReLU and addition before a strided convolution": () =>
    layered([2, 6, 9, 5], (x, nn) => {
      const y = norm("bn1", conv("conv1", x, nn, 6, { kernel: 3 }), nn);
      return conv("conv2", relu(add(y, x)), nn, 4, { kernel: 3, stride: 2 });
    }),
  "one activation read three times": () =>
    layered([2, 4, 5, 6], (x, nn) => {
      const y = relu(norm("bn", conv("conv", x, nn, 4, { kernel: 3 }), nn));
      return add(add(y, conv("a", y, nn, 4, { kernel: 1 })), multiply(y, conv("b", y, nn, 4, { kernel: 3 })));
    }),
  "two batch norms of one convolution": () =>
    layered([3, 3, 4, 5], (x, nn) => {
      const y = conv("conv", x, nn, 6, { kernel: 3 });
      return add(relu(norm("a", y, nn)), norm("b", y, nn));
    }),
  "batch norm of the input, and of a ReLU": () =>
    layered([3, 3, 4, 5], (x, nn) => norm("b", relu(add(norm("a", x, nn), x)), nn)),
  "pools after ReLU": () =>
    layered([2, 3, 9, 7], (x, nn) => {
      const y = relu(norm("bn", conv("conv", x, nn, 5, { kernel: 3 }), nn));
      return avgPool2d(maxPool2d(y, { kernel: 3, stride: 2, padding: 1 }), { kernel: 2 });
    }),
  "gates over channels and over space": () =>
    layered([3, 8, 5, 4], (x, nn) => {
      const gate = sigmoid(
        add(conv("fc", globalAvgPool(x), nn, 8, { kernel: 1, bias: true }), globalMaxPool(x)),
      );
      const y = multiply(x, gate);
      return multiply(
        y,
        sigmoid(conv("f", concat(mean(y, "channel"), max(y, "channel")), nn, 1, { kernel: 7 })),
      );
    }),
  "dense layer after pooling": () =>
    layered([5, 12, 3, 4], (x, nn) => {
      const logits = dense("fc", reshape(globalAvgPool(x), [5, 12]), nn, 7);
      return crossEntropy(logits, constant([5], 3), 0.1);
    }),
  "dense layer of a map of more than one pixel": () =>
    layered([3, 4, 2, 5], (x, nn) => dense("fc", reshape(x, [3, 40]), nn, 6)),
  "sums of unlike shapes": () =>
    layered([2, 3, 4, 5], (x, nn) => {
      const b = nn.parameter("b", [3, 1, 1], (values) => values.fill(0.5));
      return sumTo(scale(multiply(add(x, b), x), 0.3), [3, 1, 5]);
    }),
  "training with the stem and the first stage frozen": () =>
    trained({ ...small, attention: "cbam" }, sgd, [4, 9, 8], 2, {
      freeze: ["stem", "layer1"],
      bodyRate: 0.3,
    }),
  "training through frozen stages": () =>
    trained({ ...basic, attention: "se" }, sgd, [3, 8, 7], 2, { freeze: ["layer1.0.bn1", "layer2"] }),
  "training slowly but for the last layer": () => trained(small, sgd, [4, 8, 9], 2, { bodyRate: 0.1 }),
  "outputs that are inputs, variables, views of them, and one another": () => {
    const variables = new Variables(1);
    const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm });
    const x = input("x", [2, 6]);
    const w = nn.parameter("w", [4, 6], counting);
    const v = nn.parameter("v", [2, 3], counting);
    const y = relu(x);
    const view = reshape(x, [2, 6, 1, 1]);
    const outputs = {
      x,
      w,
      v,
      y,
      again: y,
      view,
      kernel: reshape(w, [4, 6, 1, 1]),
      row: row(v, 1),
      sum: add(y, x),
    };
    return {
      variables,
      graph: { outputs, effects: [] },
      runs: [{ x: normal([2, 6], "a") }, { x: normal([2, 6], "b") }],
    };
  },
  "gradient with respect to an inner activation": () => {
    const model = resolveModel({ ...small, attention: "se", attentionOptions: { reduction: 4 } }, 5);
    const variables = new Variables(2);
    const { logits, nn } = buildModel(model, variables, { batch: 2, image: [12, 10], training: false });
    const inner = nn.layers.get("layer1")!;
    const seed = input("seed", logits.shape);
    const outputs = { inner, logits, gradient: gradient(logits, seed, [inner])[0] };
    const runs = [{ images: normal([2, 3, 12, 10], "images"), seed: normal([2, 5], "seed") }];
    return { variables, graph: { outputs, effects: [] }, runs };
  },
  "training of a plain network, SGD": () => trained(small, sgd, [3, 14, 12]),
  "training with squeeze and excitation, Adam": () =>
    trained(
      { ...small, attention: "se", attentionOptions: { reduction: 3 } },
      { name: "adam", eps: 1e-3 },
      [3, 12, 14],
    ),
  "training with CBAM, AdamW": () =>
    trained(
      { ...small, attention: "cbam", attentionOptions: { reduction: 3 } },
      { name: "adamw", eps: 1e-3 },
      [3, 12, 10],
    ),
  "training with the official CBAM, Keras' Adam": () =>
    trained(
      { ...small, attention: "cbam", attentionOptions: { reduction: 3, convention: "official" } },
      { name: "adam", convention: "keras", eps: 1e-3, decay: 0.5 },
      [3, 10, 12],
    ),
  "training of basic blocks with ECA": () => trained({ ...basic, attention: "eca" }, sgd, [3, 9, 11]),
  "training with attention in identity blocks only": () =>
    trained({ ...small, attention: "se", placement: "identity", batchNorm: "keras" }, sgd, [2, 12, 12]),
};

const expectations = new Map<string, Float64Array[]>();
function expectedOf(name: string, at: Runnable): Float64Array[] {
  let result = expectations.get(name);
  if (!result) expectations.set(name, (result = runOnOracle(at)));
  return result;
}

describeEngines("compositions agree with the oracle", (engine) => {
  test.each(Object.entries(compositions))("%s", async (name, make) => {
    const at = make();
    const results = await runOn(engine, at);
    expectNone(differences(results, expectedOf(name, at), tolerance));
    expectNone(bitDifferences(results, await runOn(engine, at)));
  });
});

/** The same with one NaN in what is fed, and only what the forward pass gives. */
function withNaN({ graph, runs, variables }: Runnable): Runnable {
  const [{ x, images, ...rest }] = runs;
  const values = Float32Array.from(x ?? images);
  values[7] = Number.NaN;
  const forward = Object.entries(graph.outputs).filter(([name]) => !name.startsWith("grad"));
  const feeds = { ...rest, ...(x ? { x: values } : { images: values }) };
  return { variables, graph: { outputs: Object.fromEntries(forward), effects: [] }, runs: [feeds] };
}

describeEngines("NaN goes through compositions as it does in the oracle", (engine) => {
  test.each(Object.entries(compositions))("%s", async (_, make) => {
    const at = withNaN(make());
    const expected = runOnOracle(at);
    expect(expected.some((values) => values.some(Number.isNaN))).toBe(true);
    expectNone(differences(await runOn(engine, at), expected, tolerance));
  });
});

describe("bits of compositions do not depend on the number of threads", () => {
  for (const { isa, engines } of nativeFamilies) {
    test.each(Object.entries(compositions))(`${isa}: %s`, async (_, make) => {
      const [one, ...others] = await Promise.all(engines.map(({ engine }) => runOn(engine, make())));
      for (const other of others) expectNone(bitDifferences(one, other));
    });
  }
  if (nativeFamilies.length === 0) test.skip("needs the native engine", () => {});
});
