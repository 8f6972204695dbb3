import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, type Tensor } from "../tensor/tensor.ts";
import { apply, defineOp, expectRank, expectSame, type Op } from "./op.ts";
import { constant, row } from "./shape.ts";

const rowsAndChannels = (x: Shape) => [x[0] * x[2] * x[3], x[1]];

/** Calls `visit` with every element's index and its channel. x [N,C,H,W]. */
function forEachChannel([n, c, h, w]: Shape, visit: (at: number, channel: number) => void): void {
  let at = 0;
  for (let image = 0; image < n; image++) {
    for (let channel = 0; channel < c; channel++) {
      for (let pixel = 0; pixel < h * w; pixel++, at++) visit(at, channel);
    }
  }
}

function expectPerChannel(op: string, x: Shape, vectors: Record<string, Shape>): void {
  expectRank(op, "x", x, 4);
  for (const [name, shape] of Object.entries(vectors)) {
    if (shape.length !== 1 || shape[0] !== x[1]) {
      throw new ShapeError(
        op,
        `${name} ${showShape(shape)} does not fit x ${showShape(x)} with ${x[1]} channels`,
      );
    }
  }
}

/** Mean and biased variance of each channel. x [N,C,H,W] → [2,C]. */
export const batchStatisticsOp = defineOp<null>({
  name: "batch_statistics",
  shape: ([x]) => {
    expectRank("batch_statistics", "x", x, 4);
    return [2, x[1]];
  },
  vjp: null,
  reference: ({ inputs: [x], shapes: [xs], output }) => {
    const [rows, c] = rowsAndChannels(xs);
    output.fill(0);
    forEachChannel(xs, (at, channel) => {
      output[channel] += x[at] / rows;
    });
    forEachChannel(xs, (at, channel) => {
      output[c + channel] += (x[at] - output[channel]) ** 2 / rows;
    });
  },
  native: ({ inputs: [x] }) => ({ kernel: "batch_statistics", params: rowsAndChannels(x.shape) }),
});

/**
 * γ·(x − mean)/√(variance + ε) + β with the statistics of the batch itself (Ioffe and Szegedy, 1502.03167,
 * algorithm 1). x [N,C,H,W], statistics [2,C], γ [C], β [C] → [N,C,H,W].
 *
 * `statistics` must be `batch_statistics(x)`: the gradient of x includes the path through them.
 */
export const batchNormOp = defineOp<{ eps: number }>({
  name: "batch_norm",
  shape: ([x, statistics, gamma, beta]) => {
    expectPerChannel("batch_norm", x, { gamma, beta });
    expectSame("batch_norm", "statistics", statistics, [2, x[1]]);
    return x;
  },
  vjp: (dy, { inputs: [x, statistics, gamma], attrs }) => {
    const sums = apply(batchNormGradSumsOp, [dy, x, statistics], attrs);
    return [
      apply(batchNormInputGradOp, [dy, x, statistics, gamma, sums], attrs),
      null,
      row(sums, 1),
      row(sums, 0),
    ];
  },
  reference: ({ inputs: [x, statistics, gamma, beta], shapes: [xs], attrs: { eps }, output }) => {
    const c = xs[1];
    forEachChannel(xs, (at, channel) => {
      const deviation = Math.sqrt(statistics[c + channel] + eps);
      output[at] = (gamma[channel] * (x[at] - statistics[channel])) / deviation + beta[channel];
    });
  },
  native: ({ inputs: [x], attrs: { eps } }) => ({
    kernel: "batch_norm",
    params: [...rowsAndChannels(x.shape), eps],
  }),
});

/** Row 0: Σdy, the gradient of β; row 1: Σdy·x̂, that of γ. dy, x [N,C,H,W], statistics [2,C] → [2,C]. */
export const batchNormGradSumsOp = defineOp<{ eps: number }>({
  name: "batch_norm_grad_sums",
  shape: ([dy, x, statistics]) => {
    expectSame("batch_norm_grad_sums", "dy", dy, x);
    expectSame("batch_norm_grad_sums", "statistics", statistics, [2, x[1]]);
    return [2, x[1]];
  },
  vjp: null,
  reference: ({ inputs: [dy, x, statistics], shapes: [xs], attrs: { eps }, output }) => {
    const c = xs[1];
    output.fill(0);
    forEachChannel(xs, (at, channel) => {
      output[channel] += dy[at];
      output[c + channel] +=
        (dy[at] * (x[at] - statistics[channel])) / Math.sqrt(statistics[c + channel] + eps);
    });
  },
  native: ({ inputs: [x], attrs: { eps } }) => ({
    kernel: "batch_norm_grad_sums",
    params: [...rowsAndChannels(x.shape), eps],
  }),
});

/**
 * γ/√(variance + ε)·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), M = N·H·W: the gradient of x, statistics included.
 * dy, x [N,C,H,W], statistics, sums [2,C], γ [C] → [N,C,H,W].
 */
export const batchNormInputGradOp = defineOp<{ eps: number }>({
  name: "batch_norm_input_grad",
  shape: ([dy, x, statistics, gamma, sums]) => {
    expectSame("batch_norm_input_grad", "dy", dy, x);
    expectPerChannel("batch_norm_input_grad", x, { gamma });
    expectSame("batch_norm_input_grad", "statistics", statistics, [2, x[1]]);
    expectSame("batch_norm_input_grad", "sums", sums, [2, x[1]]);
    return x;
  },
  vjp: null,
  reference: ({ inputs: [dy, x, statistics, gamma, sums], shapes: [, xs], attrs: { eps }, output }) => {
    const [rows, c] = rowsAndChannels(xs);
    forEachChannel(xs, (at, channel) => {
      const deviation = Math.sqrt(statistics[c + channel] + eps);
      const normalized = (x[at] - statistics[channel]) / deviation;
      const centred = dy[at] - sums[channel] / rows - (normalized * sums[c + channel]) / rows;
      output[at] = (gamma[channel] / deviation) * centred;
    });
  },
  native: ({ inputs: [x], attrs: { eps } }) => ({
    kernel: "batch_norm_input_grad",
    params: [...rowsAndChannels(x.shape), eps],
  }),
  inPlace: [0],
});

/**
 * γ·(x − mean)/√(variance + ε) + β with statistics that are given, as in evaluation.
 * x [N,C,H,W], mean, variance, γ, β [C] → [N,C,H,W]; differentiable in x, γ and β.
 */
export const batchNormInferenceOp: Op<{ eps: number }> = defineOp({
  name: "batch_norm_inference",
  shape: ([x, mean, variance, gamma, beta]) => {
    expectPerChannel("batch_norm_inference", x, { mean, variance, gamma, beta });
    return x;
  },
  vjp: (dy, { inputs: [x, mean, variance, gamma], attrs }) => {
    const zero = constant(mean.shape, 0);
    const dx = apply(batchNormInferenceOp, [dy, zero, variance, gamma, zero], attrs);
    const sums = apply(batchNormGradSumsOp, [dy, x, apply(stackOp, [mean, variance], null)], attrs);
    return [dx, null, null, row(sums, 1), row(sums, 0)];
  },
  reference: ({ inputs: [x, mean, variance, gamma, beta], shapes: [xs], attrs: { eps }, output }) =>
    forEachChannel(xs, (at, channel) => {
      const rate = gamma[channel] / Math.sqrt(variance[channel] + eps);
      output[at] = rate * (x[at] - mean[channel]) + beta[channel];
    }),
  native: ({ inputs: [x], attrs: { eps } }) => ({
    kernel: "batch_norm_inference",
    params: [...rowsAndChannels(x.shape), eps],
  }),
  inPlace: [0],
});

/** Two vectors as the rows of a matrix. [C], [C] → [2,C]. */
export const stackOp = defineOp<null>({
  name: "stack",
  shape: ([a, b]) => {
    expectRank("stack", "a", a, 1);
    expectSame("stack", "b", b, a);
    return [2, a[0]];
  },
  vjp: (dy) => [row(dy, 0), row(dy, 1)],
  reference: ({ inputs: [a, b], output }) => {
    output.set(a);
    output.set(b, a.length);
  },
  native: ({ inputs: [a] }) => ({ kernel: "concat", params: [1, a.shape[0], a.shape[0]] }),
});

/**
 * Moves the running statistics: new = (1 − m)·old + m·batch, the variance made unbiased (PyTorch's convention).
 * Overwrites running mean and variance [C] from statistics [2,C] of `count` values a channel.
 */
export const updateRunningOp = defineOp<{ momentum: number; count: number }>({
  name: "update_running",
  shape: ([mean, variance, statistics]) => {
    expectSame("update_running", "variance", variance, mean);
    expectSame("update_running", "statistics", statistics, [2, mean[0]]);
    return [0];
  },
  vjp: null,
  writes: [0, 1],
  reference: ({ inputs: [mean, variance, statistics], attrs: { momentum, count } }) => {
    const c = mean.length;
    const unbiased = count > 1 ? count / (count - 1) : 1;
    for (let channel = 0; channel < c; channel++) {
      mean[channel] += momentum * (statistics[channel] - mean[channel]);
      variance[channel] += momentum * (unbiased * statistics[c + channel] - variance[channel]);
    }
  },
  native: ({ inputs: [mean], attrs: { momentum, count } }) => ({
    kernel: "update_running",
    params: [mean.shape[0], momentum, count > 1 ? count / (count - 1) : 1],
  }),
});

export const batchStatistics = (x: Tensor) => apply(batchStatisticsOp, [x], null);
export const batchNorm = (x: Tensor, statistics: Tensor, gamma: Tensor, beta: Tensor, eps: number) =>
  apply(batchNormOp, [x, statistics, gamma, beta], { eps });
export const batchNormInference = (
  x: Tensor,
  running: { mean: Tensor; variance: Tensor },
  gamma: Tensor,
  beta: Tensor,
  eps: number,
) => apply(batchNormInferenceOp, [x, running.mean, running.variance, gamma, beta], { eps });
