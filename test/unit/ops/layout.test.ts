import { expect, test } from "vitest";
import { physicalStrides, reorder, sameMemoryOrder } from "../../../src/tensor/layout.ts";
import { type Layout, type Shape, sizeOf, type Tensor } from "../../../src/tensor/tensor.ts";

const tensor = (shape: Shape, layout: Layout = "activation"): Tensor => ({
  shape,
  layout,
  source: { kind: "input", name: "x" },
  label: "x",
});

test("activations lie channels last, kernels taps first and outputs last", () => {
  expect(physicalStrides(tensor([2, 3, 4, 5]))).toEqual([60, 1, 15, 3]);
  expect(physicalStrides(tensor([7, 3, 4, 5], "kernel"))).toEqual([1, 7, 105, 21]);
  expect(physicalStrides(tensor([7, 3], "kernel"))).toEqual([1, 7]);
  expect(physicalStrides(tensor([7, 3]))).toEqual([3, 1]);
  expect(physicalStrides(tensor([1, 1, 3]))).toEqual([3, 3, 1]);
});

test.each([
  [[2, 3, 4, 5], "activation"],
  [[2, 19, 7, 5], "activation"],
  [[7, 3, 2, 5], "kernel"],
  [[40, 35, 3, 3], "kernel"],
  [[33, 50], "kernel"],
  [[7, 3], "kernel"],
  [[7, 3], "activation"],
  [[6], "activation"],
] as [Shape, Layout][])("%j %s is put in the other order and back", (shape, layout) => {
  const logical = Float32Array.from({ length: sizeOf(shape) }, (_, i) => i);
  const physical = new Float32Array(logical.length);
  const back = new Float32Array(logical.length);
  reorder(logical, physical, shape, layout, true);
  reorder(physical, back, shape, layout, false);
  expect(back).toEqual(logical);
  const strides = physicalStrides(tensor(shape, layout));
  const last = shape.map((length) => length - 1);
  expect(physical[last.reduce((at, k, axis) => at + k * strides[axis], 0)]).toBe(logical.length - 1);
  if (shape.length === 4) expect(physical[strides[1]]).toBe(shape[2] * shape[3]);
});

test.each([
  [tensor([3, 8]), tensor([3, 8, 1, 1]), true],
  [tensor([3, 8, 1, 1]), tensor([3, 8]), true],
  [tensor([3, 8, 1, 5]), tensor([3, 40]), false],
  [tensor([3, 1, 4, 5]), tensor([3, 20]), true],
  [tensor([3, 8, 4, 5]), tensor([3, 160]), false],
  [tensor([10, 8], "kernel"), tensor([10, 8, 1, 1], "kernel"), true],
  [tensor([10, 8], "kernel"), tensor([10, 8]), false],
  [tensor([8]), tensor([8, 1, 1]), true],
])("whether %# can be a view", (a, b, same) => {
  expect(sameMemoryOrder(a, b)).toBe(same);
});
