import { describe, expect, test } from "vitest";
import { conv, dense, kerasBatchNorm, norm, torchBatchNorm } from "../../../src/nn/layers.ts";
import { Scope, Variables } from "../../../src/nn/scope.ts";
import { conv2d } from "../../../src/ops/conv.ts";
import { nodeOf } from "../../../src/ops/op.ts";
import { ShapeError } from "../../../src/tensor/errors.ts";
import { input, variableOf } from "../../../src/tensor/tensor.ts";

const root = (training = true, variables = new Variables(1)) =>
  Scope.root(variables, { training, batchNorm: torchBatchNorm });

describe("a scope", () => {
  test("names variables by their place, and finds them again", () => {
    const variables = new Variables(1);
    const at = root(true, variables).scope("layer1").scope("0");
    const w = at.parameter("weight", [2, 3], () => {});
    expect(variableOf(w)).toMatchObject({ name: "layer1.0.weight", kind: "parameter", layout: "kernel" });
    expect(
      root(false, variables)
        .scope("layer1.0")
        .parameter("weight", [2, 3], () => {}),
    ).toBe(w);
    expect(variables.tensors("parameter")).toEqual([w]);
    expect(variables.tensors("statistic")).toEqual([]);
  });

  test("refuses another shape under the same name", () => {
    const at = root();
    at.parameter("weight", [2, 3], () => {});
    expect(() => at.parameter("weight", [3, 2], () => {})).toThrow(
      "weight: has shape [2,3], asked for as [3,2]",
    );
  });

  test("only kernels are laid out as kernels", () => {
    const at = root();
    const layouts = [[4], [2, 3], [1, 1, 3], [4, 3, 1, 1]].map(
      (shape, k) => at.parameter(`p${k}`, shape, () => {}).layout,
    );
    expect(layouts).toEqual(["activation", "kernel", "activation", "kernel"]);
    expect(at.statistic("s", [2, 3], () => {}).layout).toBe("activation");
  });

  test("places the errors of a layer, the innermost place winning", () => {
    const x = input("x", [32, 128, 28, 28]);
    const build = () =>
      root().layer("layer2", (stage) =>
        stage.layer("0", (block) =>
          block.layer("conv1", (own) =>
            conv2d(
              x,
              own.parameter("weight", [64, 256, 1, 1], () => {}),
            ),
          ),
        ),
      );
    expect(build).toThrow(
      new ShapeError(
        "conv2d",
        "weight expects 256 input channels, x [32,128,28,28] has 128",
        "layer2.0.conv1",
      ),
    );
    expect(build).toThrow("layer2.0.conv1: weight expects 256 input channels, x [32,128,28,28] has 128");
  });

  test("lets errors of another kind through", () => {
    const error = new TypeError("ours");
    expect(() =>
      root().layer("a", () => {
        throw error;
      }),
    ).toThrow(error);
  });

  test("keeps the output of every layer", () => {
    const at = root();
    const y = conv("conv1", input("x", [1, 3, 4, 4]), at.scope("stem"), 5, { kernel: 3 });
    expect(at.layers.get("stem.conv1")).toBe(y);
    expect(y.label).toBe("stem.conv1");
  });
});

describe("a convolution", () => {
  test.each([
    [{ kernel: 3 }, [2, 4, 9, 7]],
    [{ kernel: 3, stride: 2 }, [2, 4, 5, 4]],
    [{ kernel: 7, stride: 2 }, [2, 4, 5, 4]],
    [{ kernel: 1, stride: 2 }, [2, 4, 5, 4]],
    [{ kernel: 3, padding: 0 }, [2, 4, 7, 5]],
    [{ kernel: 5, padding: [0, 2] as const }, [2, 4, 5, 7]],
  ])("with %j", (options, shape) => {
    expect(conv("c", input("x", [2, 3, 9, 7]), root(), 4, options).shape).toEqual(shape);
  });

  test("has a bias only when asked for", () => {
    for (const bias of [false, true]) {
      const variables = new Variables(1);
      conv("c", input("x", [1, 3, 4, 4]), root(true, variables), 5, { kernel: 3, bias });
      expect(variables.all().map(({ name }) => name)).toEqual(bias ? ["c.weight", "c.bias"] : ["c.weight"]);
    }
  });
});

describe("batch norm", () => {
  const build = (training: boolean, options = {}) => {
    const nn = root(training);
    const y = norm("bn", input("x", [2, 3, 4, 5]), nn, options);
    return { nn, node: nodeOf(y)! };
  };

  test("moves its running statistics in training only", () => {
    const { nn, node } = build(true);
    expect(node.op.name).toBe("batch_norm");
    expect(nn.effects.map((x) => nodeOf(x)?.op.name)).toEqual(["update_running"]);
    expect(nodeOf(nn.effects[0])?.attrs).toEqual({ momentum: 0.1, count: 40 });
    expect(build(false).node.op.name).toBe("batch_norm_inference");
    expect(build(false).nn.effects).toEqual([]);
  });

  test("has the model's constants unless it says otherwise", () => {
    expect(build(true).node.attrs).toEqual({ eps: 1e-5 });
    expect(build(true, { eps: kerasBatchNorm.eps }).node.attrs).toEqual({ eps: 1e-3 });
    expect(nodeOf(build(true, { momentum: 0.01 }).nn.effects[0])?.attrs).toMatchObject({ momentum: 0.01 });
  });
});

test("a dense layer takes rows", () => {
  const variables = new Variables(1);
  expect(dense("fc", input("x", [5, 12]), root(true, variables), 7).shape).toEqual([5, 7]);
  expect(variables.all().map(({ name, shape }) => [name, shape])).toEqual([
    ["fc.weight", [7, 12]],
    ["fc.bias", [7]],
  ]);
});
