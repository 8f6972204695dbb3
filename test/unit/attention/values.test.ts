import { describe, expect, test } from "vitest";
import { attentions } from "../../../src/attention/registry.ts";
import { type Options, squeezed } from "../../../src/attention/spec.ts";
import { torchBatchNorm } from "../../../src/nn/layers.ts";
import { Scope, Variables } from "../../../src/nn/scope.ts";
import { nodeOf } from "../../../src/ops/op.ts";
import { input, type Shape, sizeOf, type Tensor } from "../../../src/tensor/tensor.ts";
import { evaluate } from "../../support/evaluate.ts";

const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));

/** A module with weights set by hand, in evaluation mode: y and the variables' names. */
function run(
  name: string,
  options: Options,
  shape: Shape,
  values: readonly number[],
  weights: Record<string, number[]>,
) {
  const spec = attentions.get(name)!;
  const variables = new Variables(1);
  const x = input("x", shape);
  const nn = Scope.root(variables, { training: false, batchNorm: torchBatchNorm });
  const y = spec.build(x, nn, { ...spec.options, ...options });
  const given = new Map<Tensor, readonly number[]>([[x, values]]);
  for (const tensor of variables.tensors()) {
    const fallback = new Array<number>(sizeOf(tensor.shape)).fill(
      tensor.label.endsWith("running_var") ? 1 : 0,
    );
    given.set(tensor, weights[tensor.label] ?? fallback);
  }
  expect(Object.keys(weights).filter((key) => !variables.all().some((v) => v.name === key))).toEqual([]);
  return { y: [...evaluate([y], given).outputs[0]], nn };
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 6);
}

test("squeeze and excitation on paper: two channels, means 2 and -1", () => {
  const x = [1, 3, -2, 0];
  const weights = { "fc1.weight": [1, -1], "fc1.bias": [0.5], "fc2.weight": [2, -1], "fc2.bias": [0, 1] };
  // hidden = ReLU(2 + 1 + 0.5) = 3.5; gates σ(7) and σ(−2.5)
  const { y } = run("se", { reduction: 2 }, [1, 2, 1, 2], x, weights);
  expectClose(y, [sigmoid(7), 3 * sigmoid(7), -2 * sigmoid(-2.5), 0]);
});

describe("CBAM on paper", () => {
  const x = [1, 3, -2, 0];
  const mlp = { "channel.fc1.weight": [1, 0], "channel.fc2.weight": [1, 0] };
  // channel 0: σ(ReLU(2) + ReLU(3)) = σ(5); channel 1: σ(0) = ½
  const gated = [sigmoid(5), 3 * sigmoid(5), -1, 0];
  const centre = (first: number, second: number) => {
    const kernel = new Array<number>(98).fill(0);
    kernel[24] = first;
    kernel[49 + 24] = second;
    return kernel;
  };
  const bn = { "spatial.conv.bn.weight": [Math.sqrt(1 + 1e-5)] };
  const means = [(gated[0] + gated[2]) / 2, (gated[1] + gated[3]) / 2];
  const maxima = [gated[0], gated[1]];

  test.each([
    ["timm", means],
    ["official", maxima],
  ])("%s: the first map of the two", (convention, maps) => {
    const weights = { ...mlp, ...bn, "spatial.conv.conv.weight": centre(1, 0) };
    const { y } = run("cbam", { reduction: 2, convention }, [1, 2, 1, 2], x, weights);
    const gates = maps.map(sigmoid);
    expectClose(y, [gated[0] * gates[0], gated[1] * gates[1], gated[2] * gates[0], gated[3] * gates[1]]);
  });

  test("official: the MLP has a bias, and the running statistics move by 0.01", () => {
    const weights = {
      "channel.fc1.bias": [1],
      "channel.fc2.bias": [0.5, -0.5],
      "channel.fc2.weight": [1, 2],
    };
    // hidden 1 for both poolings: σ(2·1.5) and σ(2·1.5); the spatial gate is σ(0) = ½
    const { y } = run("cbam", { reduction: 2, convention: "official" }, [1, 2, 1, 2], x, weights);
    expectClose(y, [0.5 * sigmoid(3), 1.5 * sigmoid(3), -1 * sigmoid(3), 0]);
    const nn = Scope.root(new Variables(1), { training: true, batchNorm: torchBatchNorm });
    const spec = attentions.get("cbam")!;
    spec.build(input("x", [2, 4, 3, 3]), nn, { ...spec.options, convention: "official" });
    expect(nodeOf(nn.effects[0])?.attrs).toEqual({ momentum: 0.01, count: 18 });
  });
});

test("efficient channel attention on paper: three channels, kernel of 3", () => {
  const { y } = run("eca", {}, [1, 3, 1, 1], [1, 2, 3], { "conv.weight": [1, 0, -1] });
  expectClose(y, [sigmoid(-2), 2 * sigmoid(-2), 3 * sigmoid(2)]);
});

test.each([
  [2, 3],
  [64, 3],
  [128, 5],
  [256, 5],
  [512, 5],
  [1024, 5],
  [2048, 7],
])("the kernel of ECA for %d channels is %d wide", (channels, width) => {
  expect(attentions.get("eca")!.parameters(channels, {})).toBe(width);
});

test.each([
  [64, 16, "down", 8, 4],
  [8, 16, "down", 8, 1],
  [24, 16, "down", 1, 1],
  [64, 16, "timm", 8, 8],
  [256, 16, "timm", 8, 16],
  [320, 16, "timm", 8, 24],
  [24, 16, "timm", 1, 2],
  [8, 32, "timm", 1, 1],
])(
  "a gate of %d channels, reduction %d, rounded %s by %d is %d wide",
  (channels, reduction, rounding, divisor, width) => {
    expect(squeezed(channels, reduction, rounding, divisor)).toBe(width);
  },
);
