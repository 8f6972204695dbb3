import { describe, expect, test } from "vitest";
import { gradient } from "../../../src/autodiff/gradient.ts";
import {
  batchNorm,
  batchNormInference,
  batchStatistics,
  updateRunningOp,
} from "../../../src/ops/batch-norm.ts";
import { channelConv, conv2d } from "../../../src/ops/conv.ts";
import { relu, sigmoid } from "../../../src/ops/elementwise.ts";
import { crossEntropy } from "../../../src/ops/loss.ts";
import { apply } from "../../../src/ops/op.ts";
import { adamOp, sgdOp } from "../../../src/ops/optimizer.ts";
import { avgPool2d, maxPool2d } from "../../../src/ops/pool.ts";
import { max, mean } from "../../../src/ops/reduce.ts";
import { constant } from "../../../src/ops/shape.ts";
import { input, type Shape, type Tensor } from "../../../src/tensor/tensor.ts";
import { evaluate } from "../../support/evaluate.ts";

/** An input with its values. */
const given = new Map<Tensor, readonly number[]>();
function fed(shape: Shape, values: readonly number[]): Tensor {
  const x = input("x", shape);
  given.set(x, values);
  return x;
}
const compute = (y: Tensor) => [...evaluate([y], given).outputs[0]];

function expectClose(y: Tensor, values: readonly number[]): void {
  const actual = compute(y);
  expect(actual).toHaveLength(values.length);
  for (const [i, value] of values.entries()) expect(actual[i]).toBeCloseTo(value, 9);
}

/** 0 1 4 9 … 121 as a map of 3×4. */
const squares = () =>
  fed(
    [1, 1, 3, 4],
    Array.from({ length: 12 }, (_, i) => i * i),
  );

describe("values that PyTorch 2.15 gives", () => {
  test("convolution with unlike strides and padding", () => {
    const w = fed([1, 1, 2, 3], [1, 0, -1, 2, 1, 0]);
    expectClose(conv2d(squares(), w, { stride: [1, 2], padding: [1, 0] }), [1, 53, 189, -36]);
  });

  test("pools of 3×3, stride 2, padding 1: zeros count in the mean and never win", () => {
    const window = { kernel: 3, stride: 2, padding: 1 };
    expectClose(avgPool2d(squares(), window), [4 + 2 / 3, 13 + 7 / 9, 20 + 2 / 3, 45 + 7 / 9]);
    expectClose(maxPool2d(squares(), window), [25, 49, 81, 121]);
    const negative = fed([1, 1, 2, 2], [-5, -4, -3, -2]);
    expectClose(maxPool2d(negative, { kernel: 3, stride: 2, padding: 1 }), [-2]);
  });

  test("batch norm in training, its running statistics, and in evaluation", () => {
    const x = squares();
    const [gamma, beta, start, one] = [fed([1], [2]), fed([1], [-1]), fed([1], [0]), fed([1], [1])];
    const statistics = batchStatistics(x);
    expectClose(
      batchNorm(x, statistics, gamma, beta, 1e-5),
      [
        -3.139903149883, -3.089154458581, -2.936908384677, -2.683164928169, -2.327924089058, -1.871185867344,
        -1.312950263026, -0.653217276106, 0.108013093418, 0.970740845544, 1.934965980274, 3.000688497607,
      ],
    );
    const update = apply(updateRunningOp, [start, one, statistics], { momentum: 0.3, count: 12 });
    const { written } = evaluate([], given, [update]);
    expect(written.get(start)![0]).toBeCloseTo(12.65, 9);
    expect(written.get(one)![0]).toBeCloseTo(509, 9);
    const running = { mean: fed([1], [12.65]), variance: fed([1], [509]) };
    expectClose(
      batchNormInference(fed([1, 1, 1, 2], [0, 121]), running, gamma, beta, 1e-5),
      [-2.121402773144, 8.605058535194],
    );
  });

  test.each([
    [
      0,
      2.986442587569,
      [0.129748230171, 0.352692256349, -0.48244048652, -0.46373927716, 0.021993240146, 0.441746037014],
    ],
    [
      0.1,
      2.869775920902,
      [0.113081563505, 0.336025589682, -0.449107153187, -0.430405943826, 0.005326573479, 0.425079370347],
    ],
    [
      1,
      1.819775920902,
      [-0.036918436495, 0.186025589682, -0.149107153187, -0.130405943826, -0.144673426521, 0.275079370347],
    ],
  ])("cross-entropy and its gradient, label smoothing %d", (smoothing, loss, slope) => {
    const logits = fed([2, 3], [1, 2, -1, 0.5, 0, 3]);
    const y = crossEntropy(logits, fed([2], [2, 0]), smoothing);
    expectClose(y, [loss]);
    expectClose(gradient(y, constant([1], 1), [logits])[0], slope);
  });
});

describe("values on paper", () => {
  test("convolution along the channels", () => {
    const x = fed([2, 3, 1, 1], [1, 2, 3, 10, 20, 30]);
    expectClose(channelConv(x, fed([1, 1, 3], [100, 10, 1])), [12, 123, 230, 120, 1230, 2300]);
  });

  test("mean and maximum, over space and over channels", () => {
    const x = fed([1, 2, 1, 3], [1, 2, 6, -1, 4, -9]);
    expectClose(mean(x, "spatial"), [3, -2]);
    expectClose(max(x, "spatial"), [6, 4]);
    expectClose(mean(x, "channel"), [0, 3, -1.5]);
    expectClose(max(x, "channel"), [1, 4, 6]);
  });

  test("equal maxima share the gradient; of a window the first takes it", () => {
    const x = fed([1, 1, 2, 2], [3, 1, 3, 3]);
    const one = constant([1, 1, 1, 1], 1);
    expectClose(gradient(max(x, "spatial"), one, [x])[0], [1 / 3, 0, 1 / 3, 1 / 3]);
    expectClose(gradient(maxPool2d(x, { kernel: 2 }), one, [x])[0], [1, 0, 0, 0]);
  });

  test("ReLU is 0 at 0 and has no slope there; the sigmoid's ends do not overflow", () => {
    const x = fed([3], [-1, 0, 2]);
    expectClose(relu(x), [0, 0, 2]);
    expectClose(gradient(relu(x), constant([3], 1), [x])[0], [0, 0, 1]);
    expectClose(sigmoid(fed([3], [-1e4, 0, 1e4])), [0, 0.5, 1]);
  });
});

/** Parameter after each of three steps whose gradients are these. */
const gradients = [
  [0.5, 0.1],
  [0.2, -0.3],
  [-0.4, 1e-4],
];

describe("optimisers step as PyTorch 2.15's do", () => {
  test.each([
    [
      { momentum: 0, nesterov: false, weightDecay: 0 },
      [
        [0.95, -2.01],
        [0.93, -1.98],
        [0.97, -1.98001],
      ],
    ],
    [
      { momentum: 0.9, nesterov: false, weightDecay: 0.01 },
      [
        [0.949, -2.008],
        [0.882151, -1.983192],
        [0.861104749, -1.958891608],
      ],
    ],
    [
      { momentum: 0.9, nesterov: true, weightDecay: 0.01 },
      [
        [0.9031, -2.0152],
        [0.82207411, -1.96085112],
        [0.842401658191, -1.937044190872],
      ],
    ],
  ])("SGD %j", (attrs, steps) => {
    const state = [
      [1, -2],
      [0, 0],
    ].map((values) => Float64Array.from(values));
    for (const [step, gradient] of gradients.entries()) {
      const [parameter, velocity] = state;
      const inputs = [parameter, Float64Array.from(gradient), velocity, Float64Array.of(0.1)];
      sgdOp.reference({ inputs, shapes: [], attrs, output: new Float64Array(0), outputShape: [0] });
      steps[step].forEach((value, i) => {
        expect(parameter[i]).toBeCloseTo(value, 10);
      });
    }
  });

  test.each([
    [
      "Adam",
      0,
      0,
      [
        [0.99001996008, -2.009900990099],
        [0.981043062384, -2.004989927512],
        [0.97928323522, -2.001190883036],
      ],
    ],
    [
      "Adam with L2",
      0.1,
      0,
      [
        [0.990016638935, -1.990099009901],
        [0.980706671709, -1.981528275809],
        [0.97676670054, -1.973037322188],
      ],
    ],
    [
      "AdamW",
      0,
      0.1,
      [
        [0.98901996008, -2.007900990099],
        [0.979054042424, -2.000982026522],
        [0.976315161217, -1.995182000019],
      ],
    ],
  ])("%s", (_, weightDecay, decoupled, steps) => {
    const [parameter, m, v] = [
      [1, -2],
      [0, 0],
      [0, 0],
    ].map((values) => Float64Array.from(values));
    const [lr, beta1, beta2] = [0.01, 0.9, 0.99];
    for (const [step, gradient] of gradients.entries()) {
      const rates = [
        lr / (1 - beta1 ** (step + 1)),
        1 / Math.sqrt(1 - beta2 ** (step + 1)),
        1 - lr * decoupled,
      ];
      const inputs = [parameter, Float64Array.from(gradient), m, v, Float64Array.from(rates)];
      const attrs = { beta1, beta2, eps: 1e-3, weightDecay };
      adamOp.reference({ inputs, shapes: [], attrs, output: new Float64Array(0), outputShape: [0] });
      steps[step].forEach((value, i) => {
        expect(parameter[i]).toBeCloseTo(value, 10);
      });
    }
  });
});
