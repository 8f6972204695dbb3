import { describe, expect, test } from "vitest";
import { optimize } from "../../src/compile/passes/index.ts";
import { schedule } from "../../src/compile/schedule.ts";
import { Variables } from "../../src/nn/scope.ts";
import { batchNorm, batchNormGradSumsOp, batchStatistics } from "../../src/ops/batch-norm.ts";
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from "../../src/ops/conv.ts";
import {
  add,
  broadcastTo,
  divide,
  equalOp,
  multiply,
  relu,
  reluGradOp,
  scale,
  selectEqualOp,
  sumTo,
} from "../../src/ops/elementwise.ts";
import { leavesGaps } from "../../src/ops/fused.ts";
import { apply, nodeOf } from "../../src/ops/op.ts";
import { max, mean } from "../../src/ops/reduce.ts";
import { constant } from "../../src/ops/shape.ts";
import { input, type Shape, type Tensor, type Variable } from "../../src/tensor/tensor.ts";
import { expectNone } from "../support/compare.ts";
import { nativeFamilies } from "../support/engines.ts";
import { bitDifferences, differences, type Runnable, runOn, runOnOracle } from "../support/graphs.ts";
import { normal, positive } from "../support/values.ts";
import { type Convolution, convolution, geometries, largeGeometries } from "./cases/convolution.ts";

const eps = 1e-3;

function weightOf(shape: Shape): Tensor {
  const variable: Variable = {
    name: "w",
    shape,
    layout: "kernel",
    kind: "parameter",
    initialize: (values) => values.set(normal(shape, "w")),
  };
  return { shape, layout: "kernel", source: { kind: "variable", variable }, label: "w" };
}

/** Of the first two channels γ is 0 and β large, so that their gated values are equal, and the largest. */
function fedTo(name: string, shape: Shape): Float32Array {
  const first = (value: number) => (other: number, channel: number) => (channel < 2 ? value : other);
  // far from zero, so that squares would cancel were they summed as they are
  if (name === "x") return normal(shape, name).map((value) => value + 30);
  if (name === "pool" || name === "twin") return normal(shape, name).map((value) => value + 3);
  if (name === "y") return normal(shape, name);
  if (name === "turned") return normal(shape, name).map(first(0));
  if (name === "beta") return positive(shape, name).map(first(70));
  if (name === "a") return positive(shape, name).map((value, i) => first(0.5)(value, i % shape[1]));
  return positive(shape, name);
}

function runnable(outputs: Record<string, Tensor>, w: Tensor, shapes: Record<string, Shape>): Runnable {
  const variables = new Variables(1);
  const own = w.source.kind === "variable" ? [w.source.variable] : [];
  const feeds = Object.entries(shapes).map(([name, shape]) => [name, fedTo(name, shape)]);
  return {
    variables: Object.assign(variables, { all: () => own, tensors: () => [w] }),
    graph: { outputs, effects: [] },
    runs: [Object.fromEntries(feeds)],
  };
}

function forward(at: Convolution): Runnable {
  const w = weightOf(at.w);
  const y = apply(conv2dOp, [input("x", at.x), w], at.attrs);
  return runnable({ y, statistics: batchStatistics(y) }, w, { x: at.x });
}

/** The gradient that leaves a ReLU, and the sums of the batch norm before it. */
function backward(at: Convolution, mask: "value" | "norm", residual: boolean): Runnable {
  const w = weightOf(at.w);
  const x = input("x", at.x);
  const statistics = batchStatistics(x);
  const channel = [at.x[1]];
  const normalized = batchNorm(x, statistics, input("gamma", channel), input("beta", channel), eps);
  const y = mask === "norm" ? relu(normalized) : input("y", at.x);
  const dx = apply(conv2dInputGradOp, [input("dy", at.y), w], { ...at.attrs, input: at.x });
  const both = residual ? add(dx, input("residual", at.x)) : dx;
  const g = apply(reluGradOp, [both, y], null);
  const sums = apply(batchNormGradSumsOp, [g, x, statistics], { eps });
  const fed = {
    x: at.x,
    dy: at.y,
    ...(mask === "norm" ? { gamma: channel, beta: channel } : { y: at.x }),
    ...(residual && { residual: at.x }),
  };
  return runnable({ statistics, g, sums }, w, fed);
}

/** Pools of each image's batch norm; or the largest values alone. */
function pools(at: Convolution, alone = false): Runnable {
  const w = weightOf(at.w);
  const y = apply(conv2dOp, [input("x", at.x), w], at.attrs);
  const channel = [at.y[1]];
  const z = batchNorm(y, batchStatistics(y), input("turned", channel), input("beta", channel), eps);
  const largest = { max: max(z, "spatial") };
  return runnable(alone ? largest : { z, mean: mean(z, "spatial"), ...largest }, w, {
    x: at.x,
    turned: channel,
    beta: channel,
  });
}

/**
 * What two gates of batch norm's results need of the gradient behind them: a by channel; s by pixel, or none. And, as
 * where a block's other path has a convolution, another batch norm.
 */
function gates(at: Convolution, pixelwise: boolean, other = false): Runnable {
  const [n, c, h, width] = at.x;
  const w = weightOf(at.w);
  const shapes = {
    x: at.x,
    dy: at.y,
    y: at.x,
    residual: at.x,
    turned: [c],
    beta: [c],
    a: [n, c, 1, 1],
    ...(pixelwise && { s: [n, 1, h, width] }),
    ...(other && { side: at.x }),
  };
  const inputs = Object.fromEntries(Object.entries(shapes).map(([k, v]) => [k, input(k, v)]));
  const { x, dy, y, residual, turned: gamma, beta, a, s, side } = inputs;
  const statistics = batchStatistics(x);
  const z = batchNorm(x, statistics, gamma, beta, eps);
  const u = multiply(z, a);
  const dx = apply(conv2dInputGradOp, [dy, w], { ...at.attrs, input: at.x });
  // in a block s is made of the largest and y of both: here they are the same without, so that no rounding turns a sign
  const largest = max(u, "channel");
  const gate = pixelwise ? add(s, scale(largest, 0)) : undefined;
  const behind = add(y, scale(gate ? multiply(u, gate) : u, 0));
  const g = apply(reluGradOp, [add(dx, residual), behind], null);
  const seen = other ? batchStatistics(side) : undefined;
  const outputs: Record<string, Tensor> = { ...(seen && { seen }), g };
  let du = g;
  if (gate) {
    const ds = sumTo(multiply(g, u), s.shape);
    const share = divide(ds, sumTo(apply(equalOp, [u, largest], null), s.shape));
    const others = add(broadcastTo(ds, at.x), apply(selectEqualOp, [u, largest, share], null));
    du = add(multiply(g, gate), others);
    Object.assign(outputs, { ds, share });
  }
  if (!gate) outputs.twice = sumTo(add(g, g), a.shape); // one of the two is summed along, the other is not lost
  outputs.sums = apply(batchNormGradSumsOp, [multiply(du, a), x, statistics], { eps });
  outputs.da = sumTo(multiply(du, z), a.shape);
  if (seen) outputs.others = apply(batchNormGradSumsOp, [g, side, seen], { eps });
  return runnable(outputs, w, shapes);
}

/** A layer applied to two pools, and the gradients of both. */
function twoPools(n: number, channels: number, width: number): Runnable {
  const w = weightOf([width, channels, 1, 1]);
  const attrs = { stride: [1, 1], padding: [0, 0] } as const;
  const shapes: Record<string, Shape> = Object.fromEntries([
    ...["a", "b"].map((name) => [name, [n, channels, 1, 1]]),
    ...["da", "db"].map((name) => [name, [n, width, 1, 1]]),
  ]);
  const [a, b, da, db] = Object.entries(shapes).map(([name, shape]) => input(name, shape));
  const gradient = (dy: Tensor) => apply(conv2dInputGradOp, [dy, w], { ...attrs, input: a.shape });
  const ofWeight = (x: Tensor, dy: Tensor) =>
    apply(conv2dWeightGradOp, [x, dy], { ...attrs, weight: w.shape });
  const outputs = {
    a: apply(conv2dOp, [a, w], attrs),
    b: apply(conv2dOp, [b, w], attrs),
    da: gradient(da),
    db: gradient(db),
    dw: add(ofWeight(a, da), ofWeight(b, db)),
  };
  return runnable(outputs, w, shapes);
}

/** The weight gradient of a layer of two normalised pools, and what batch norm's gradient sums of its input gradients. */
function normalizedPools(n: number, channels: number, width: number): Runnable {
  const w = weightOf([width, channels, 1, 1]);
  const attrs = { stride: [1, 1], padding: [0, 0] } as const;
  const pools = ["pool", "twin"].map((name) => [name, [n, channels, 1, 1]]);
  const gradients = ["da", "db"].map((name) => [name, [n, width, 1, 1]]);
  const vectors = ["turned", "beta"].map((name) => [name, [channels]]);
  const shapes: Record<string, Shape> = Object.fromEntries([...pools, ...gradients, ...vectors]);
  const [a, b, da, db, gamma, beta] = Object.entries(shapes).map(([name, shape]) => input(name, shape));
  const statistics = batchStatistics(a);
  const hats = [a, b].map((x) =>
    batchNorm(x, statistics, constant([channels], 1), constant([channels], 0), eps),
  );
  const dxs = [da, db].map((dy) => apply(conv2dInputGradOp, [dy, w], { ...attrs, input: a.shape }));
  const ofWeight = (x: Tensor, dy: Tensor) => {
    const y = batchNorm(x, statistics, gamma, beta, eps);
    return apply(conv2dWeightGradOp, [y, dy], { ...attrs, weight: w.shape });
  };
  const sum = (terms: readonly Tensor[]) => sumTo(terms.reduce(add), [1, channels, 1, 1]);
  const outputs = {
    dw: add(ofWeight(a, da), ofWeight(b, db)),
    sums: sum(dxs),
    products: sum(dxs.map((dx, k) => multiply(dx, hats[k]))),
  };
  return runnable(outputs, w, shapes);
}

const titled = (at: Convolution) => `x [${at.x}] w [${at.w}] stride ${at.attrs.stride}`;
// results too large for the caches, which the native engine stores past them
const streamed = (ic: number, oc: number) => convolution([2, ic, oc], [182, 183], [1, 1], [1, 1], [0, 0]);
const all = [...geometries, ...largeGeometries];
const many = ({ x: [, c, h, w] }: Convolution) => c > 1 && h * w > 1;
const whole = all.filter(({ w, attrs }) => !leavesGaps(w, attrs));
// images, channels, width: of few pixels and of many, in one chunk and in several, with panels that are full and not
const pooledLayers = [
  [1, 5, 3],
  [3, 17, 33],
  [8, 64, 16],
  [13, 48, 96],
  [32, 256, 16],
  [64, 40, 1],
  [100, 130, 70],
  [128, 512, 32],
  [128, 1024, 64],
  [150, 64, 130],
] as const;
const graphs: Record<string, readonly (readonly [string, Runnable])[]> = {
  "conv2d_pair, conv2d_pair_along, conv2d_input_grad_pair, conv2d_input_grad_pair_along and conv2d_weight_grad_pair":
    pooledLayers.map(
      ([n, channels, width]) => [`${n} ${channels} ${width}`, twoPools(n, channels, width)] as const,
    ),
  "input_sums_along and conv2d_weight_grad_of_norm_pair": pooledLayers
    .filter(([n, , width]) => width < 2 * n)
    .map(
      ([n, channels, width]) => [`${n} ${channels} ${width}`, normalizedPools(n, channels, width)] as const,
    ),
  batch_statistics_along: [...all, streamed(3, 64)].map((at) => [titled(at), forward(at)] as const),
  "batch_norm_grad_sums_along behind a value": [...whole, streamed(64, 3)].map(
    (at) => [titled(at), backward(at, "value", false)] as const,
  ),
  "batch_norm_grad_sums_along behind a norm": whole.map(
    (at) => [titled(at), backward(at, "norm", true)] as const,
  ),
  "mean_along and extreme_along of batch norm's results": [...all, streamed(3, 64)]
    .filter(({ y: [, , h, w] }) => h * w > 1)
    .map((at) => [titled(at), pools(at)] as const),
  "extreme_along alone": geometries
    .filter(({ y: [, , h, w] }) => h * w > 1)
    .map((at) => [titled(at), pools(at, true)] as const),
  "image_sums_along for a gate by channel": [...whole, streamed(64, 3)]
    .filter(many)
    .map((at) => [titled(at), gates(at, false)] as const),
  "image_sums_along and pixel_sums_along for gates by channel and by pixel": [...whole, streamed(64, 3)]
    .filter(many)
    .map((at) => [titled(at), gates(at, true)] as const),
  "batch_norm_grad_sums_along beside image_sums_along and pixel_sums_along": [...whole, streamed(64, 3)]
    .filter(many)
    .map((at) => [titled(at), gates(at, true, true)] as const),
};

describe("what is computed along with a convolution", () => {
  test.each(Object.entries(graphs))("%s: passes make it", (name, made) => {
    for (const [, { graph }] of made) {
      const ops = schedule(optimize(graph)).flatMap((x) => nodeOf(x)?.op.name ?? []);
      for (const made of name.match(/\w+_(along|pair)\b/g)!) expect(ops).toContain(made);
    }
  });

  for (const { isa, engines } of nativeFamilies) {
    test.each(Object.entries(graphs))(
      `${isa}: %s agrees with the oracle, for any number of threads`,
      async (_, made) => {
        const errors: string[] = [];
        for (const [title, at] of made) {
          const expected = runOnOracle(at);
          const [one, ...others] = await Promise.all(engines.map(({ engine }) => runOn(engine, at)));
          errors.push(...differences(one, expected, 3e-5).map((said) => `${title}: ${said}`));
          for (const other of others)
            errors.push(...bitDifferences(one, other).map((said) => `${title}: ${said}`));
        }
        expectNone(errors);
      },
    );
  }
  if (nativeFamilies.length === 0) test.skip("needs the native engine", () => {});
});
