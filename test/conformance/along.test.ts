import { describe, expect, test } from "vitest";
import { optimize } from "../../src/compile/passes/index.ts";
import { schedule } from "../../src/compile/schedule.ts";
import { Variables } from "../../src/nn/scope.ts";
import { batchNorm, batchNormGradSumsOp, batchStatistics } from "../../src/ops/batch-norm.ts";
import { conv2dInputGradOp, conv2dOp } from "../../src/ops/conv.ts";
import { add, relu, reluGradOp } from "../../src/ops/elementwise.ts";
import { leavesGaps } from "../../src/ops/fused.ts";
import { apply, nodeOf } from "../../src/ops/op.ts";
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

function runnable(outputs: Record<string, Tensor>, w: Tensor, shapes: Record<string, Shape>): Runnable {
  const variables = new Variables(1);
  const own = w.source.kind === "variable" ? [w.source.variable] : [];
  const feeds = Object.entries(shapes).map(([name, shape]) => [
    name,
    // far from zero, so that squares would cancel were they summed as they are
    name === "x" ? normal(shape, name).map((value) => value + 30) : positive(shape, name),
  ]);
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

const titled = (at: Convolution) => `x [${at.x}] w [${at.w}] stride ${at.attrs.stride}`;
// results too large for the caches, which the native engine stores past them
const streamed = (ic: number, oc: number) => convolution([2, ic, oc], [182, 183], [1, 1], [1, 1], [0, 0]);
const all = [...geometries, ...largeGeometries];
const whole = all.filter(({ w, attrs }) => !leavesGaps(w, attrs));
const graphs: Record<string, readonly (readonly [string, Runnable])[]> = {
  batch_statistics_along: [...all, streamed(3, 64)].map((at) => [titled(at), forward(at)] as const),
  "batch_norm_grad_sums_along behind a value": [...whole, streamed(64, 3)].map(
    (at) => [titled(at), backward(at, "value", false)] as const,
  ),
  "batch_norm_grad_sums_along behind a norm": whole.map(
    (at) => [titled(at), backward(at, "norm", true)] as const,
  ),
};

describe("what is computed along with a convolution", () => {
  test.each(Object.entries(graphs))("%s: passes make it", (name, made) => {
    for (const [, { graph }] of made) {
      const ops = schedule(optimize(graph)).flatMap((x) => nodeOf(x)?.op.name ?? []);
      expect(ops).toContain(name.split(" ")[0]);
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
