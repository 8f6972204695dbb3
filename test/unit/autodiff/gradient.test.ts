import { describe, expect, test } from "vitest";
import { gradient, topologicalOrder } from "../../../src/autodiff/gradient.ts";
import { schedule } from "../../../src/compile/schedule.ts";
import { torchBatchNorm } from "../../../src/nn/layers.ts";
import { Scope, Variables } from "../../../src/nn/scope.ts";
import { updateRunningOp } from "../../../src/ops/batch-norm.ts";
import { add, multiply, relu, scale } from "../../../src/ops/elementwise.ts";
import { apply } from "../../../src/ops/op.ts";
import { mean } from "../../../src/ops/reduce.ts";
import { constant, row, sliceChannels } from "../../../src/ops/shape.ts";
import { input, type Tensor } from "../../../src/tensor/tensor.ts";
import { gradientErrors } from "../../support/differences.ts";
import { evaluate } from "../../support/evaluate.ts";
import { awayFromZero, normal } from "../../support/values.ts";

const computed = (y: Tensor, given: [Tensor, number[]][]) => [
  ...evaluate([y], new Map(given.map(([x, values]) => [x, values]))).outputs[0],
];

describe("gradient", () => {
  const x = input("x", [2]);
  const ones = constant([2], 1);

  test("adds up what reaches a tensor on several ways", () => {
    const y = add(multiply(x, x), add(x, scale(x, 3))); // x² + 4x
    expect(computed(gradient(y, ones, [x])[0], [[x, [1, -2]]])).toEqual([6, 0]);
  });

  test("starts from the seed", () => {
    const seed = input("seed", [2]);
    const [dx] = gradient(multiply(x, x), seed, [x]);
    expect(
      computed(dx, [
        [x, [1, -2]],
        [seed, [10, 0.5]],
      ]),
    ).toEqual([20, -2]);
  });

  test("is taken with respect to inner tensors as well, all at once", () => {
    const inner = scale(x, 2);
    const y = multiply(inner, inner);
    const [dInner, dx] = gradient(y, ones, [inner, x]);
    expect(computed(dInner, [[x, [1, -2]]])).toEqual([4, -8]);
    expect(computed(dx, [[x, [1, -2]]])).toEqual([8, -16]);
  });

  test("of a tensor with respect to itself is the seed", () => {
    expect(gradient(x, ones, [x])).toEqual([ones]);
  });

  test("undoes broadcasting", () => {
    const b = input("b", [3, 1, 1]);
    const a = input("a", [2, 3, 4, 5]);
    const errors = gradientErrors(
      multiply(add(a, b), relu(b)),
      [a, b],
      new Map([
        [a, normal(a.shape, "a")],
        [b, awayFromZero(b.shape, "b")],
      ]),
    );
    expect(errors).toEqual([]);
    expect(gradient(add(a, b), constant(a.shape, 1), [b])[0].shape).toEqual([3, 1, 1]);
  });

  test("builds nothing on the side that leads to no target", () => {
    const other = input("other", [2]);
    const [dx] = gradient(multiply(scale(x, 2), scale(other, 5)), ones, [x]);
    const scales = topologicalOrder([dx]).filter(
      (y) => y.source.kind === "op" && y.source.op.name === "scale",
    );
    expect(scales).toHaveLength(2); // 5·other, and 2·dy
  });

  test("names the layer of every part after the forward op", () => {
    const y = scale(x, 2);
    y.label = "layer1";
    expect(gradient(multiply(y, y), ones, [x])[0].label).toBe("layer1");
  });

  test("refuses what has no gradient, by name", () => {
    const stranger = input("stranger", [2]);
    expect(() => gradient(multiply(x, x), ones, [stranger])).toThrow("y does not depend on stranger");
    expect(() => gradient(x, constant([3], 1), [x])).toThrow("seed [3] does not fit y [2]");
    const map = input("map", [1, 4, 2, 2]);
    expect(() => gradient(sliceChannels(map, 0, 2), constant([1, 2, 2, 2], 1), [map])).toThrow(
      "slice_channels has no derivative",
    );
    const rows = input("rows", [2, 3]);
    expect(() => gradient(row(rows, 0), constant([3], 1), [rows])).toThrow("row has no derivative");
  });
});

describe("orders", () => {
  test("every tensor comes after its inputs, once", () => {
    const x = input("x", [1, 2, 3, 3]);
    const y = relu(x);
    const z = add(multiply(y, mean(y, "spatial")), x);
    const order = topologicalOrder([z, y]);
    expect(new Set(order).size).toBe(order.length);
    for (const [position, tensor] of order.entries()) {
      if (tensor.source.kind !== "op") continue;
      for (const part of tensor.source.inputs) expect(order.indexOf(part)).toBeLessThan(position);
    }
  });

  test("a graph as deep as ResNet-101's does not exhaust the stack", () => {
    const x = input("x", [1]);
    let y: Tensor = x;
    for (let depth = 0; depth < 50_000; depth++) y = scale(y, 1);
    expect(topologicalOrder([y])).toHaveLength(50_001);
    expect(gradient(y, constant([1], 1), [x])).toHaveLength(1);
  });

  test("a variable is overwritten after all that reads its old value", () => {
    const nn = Scope.root(new Variables(1), { training: true, batchNorm: torchBatchNorm });
    const [first, second] = ["mean", "variance"].map((name) => nn.statistic(name, [3], () => {}));
    const statistics = input("statistics", [2, 3]);
    const update = apply(updateRunningOp, [first, second, statistics], { momentum: 0.1, count: 4 });
    const reader = scale(first, 2);
    const order = schedule({ outputs: { reader }, effects: [update] });
    expect(order.indexOf(update)).toBeGreaterThan(order.indexOf(reader));
  });
});
