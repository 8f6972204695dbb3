import { describe, expect, test } from "vitest";
import { type InitializationName, type Initializer, initializations } from "../../../src/nn/initializers.ts";
import { conv, dense, torchBatchNorm } from "../../../src/nn/layers.ts";
import { Scope, Variables } from "../../../src/nn/scope.ts";
import { Random } from "../../../src/random/random.ts";
import { input, variableOf } from "../../../src/tensor/tensor.ts";

const KERNEL = [96, 32, 3, 3];
const MATRIX = [200, 400];

function draw(initializer: Initializer, shape: readonly number[]): Float32Array {
  const values = new Float32Array(shape.reduce((product, length) => product * length, 1));
  initializer(values, shape, new Random("initial", ...shape));
  return values;
}

function moments(values: Float32Array) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance), largest: Math.max(...values.map(Math.abs)) };
}

describe("initial weights", () => {
  test("torch: normal by the outputs, uniform by the inputs", () => {
    const kernel = moments(draw(initializations.torch.convolution, KERNEL));
    const expected = Math.sqrt(2 / (96 * 9));
    expect(Math.abs(kernel.deviation / expected - 1)).toBeLessThan(0.02);
    expect(Math.abs(kernel.mean)).toBeLessThan(0.01 * expected * 3);
    expect(kernel.largest).toBeGreaterThan(3 * expected); // not cut
    const matrix = moments(draw(initializations.torch.dense, MATRIX));
    expect(matrix.largest).toBeLessThanOrEqual(Math.fround(1 / 20));
    expect(Math.abs(matrix.deviation / (1 / 20 / Math.sqrt(3)) - 1)).toBeLessThan(0.02);
  });

  test("keras: normal by the inputs cut at two deviations, Glorot's uniform, no bias", () => {
    const kernel = moments(draw(initializations.keras.convolution, KERNEL));
    const expected = Math.sqrt(2 / (32 * 9));
    expect(Math.abs(kernel.deviation / expected - 1)).toBeLessThan(0.02);
    expect(kernel.largest).toBeLessThanOrEqual(Math.fround((2 * expected) / 0.87962566));
    const matrix = moments(draw(initializations.keras.dense, MATRIX));
    expect(matrix.largest).toBeLessThanOrEqual(Math.fround(0.1)); // √(6/600)
    expect(Math.abs(matrix.deviation / (0.1 / Math.sqrt(3)) - 1)).toBeLessThan(0.02);
    expect(draw(initializations.keras.bias(400), [200]).every((value) => value === 0)).toBe(true);
  });

  test.each<[InitializationName, boolean]>([
    ["torch", false],
    ["keras", true],
  ])("%s reaches the layers", (initialization, biasIsZero) => {
    const variables = new Variables(1);
    const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm, initialization });
    conv("conv", input("x", [1, 3, 4, 4]), nn, 8, { kernel: 3, bias: true });
    dense("fc", input("y", [1, 12]), nn, 5);
    for (const name of ["conv.bias", "fc.bias"]) {
      const { shape, initialize } = variables.all().find((variable) => variable.name === name)!;
      const values = new Float32Array(shape[0]);
      initialize(values);
      expect(values.every((value) => value === 0)).toBe(biasIsZero);
    }
    expect(variableOf(variables.tensors()[0]).name).toBe("conv.weight");
  });
});
