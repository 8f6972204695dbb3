import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf } from "../tensor/tensor.ts";
import { batchNormGradSumsOp, batchNormOp, batchStatisticsOp } from "./batch-norm.ts";
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp, convolvedShape } from "./conv.ts";
import { reluGradOp } from "./elementwise.ts";
import { defineOp, expectLayout, expectSame, type KernelCall, type Node, type Op } from "./op.ts";
import { meanOp, type Over } from "./reduce.ts";

// Ops that compile passes put in place of several others; models are not written with them.

/**
 * What batch normalisation with given statistics does to a channel, as y = scale·x + shift.
 * mean, variance, γ, β [C] → [2,C]: scale = γ/√(variance + ε), shift = β − mean·scale.
 */
export const foldBatchNormOp = defineOp<{ eps: number }>({
  name: "fold_batch_norm",
  shape: ([mean, variance, gamma, beta]) => {
    if (mean.length !== 1)
      throw new ShapeError("fold_batch_norm", `mean must be [C], has ${showShape(mean)}`);
    for (const [name, shape] of Object.entries({ variance, gamma, beta })) {
      expectSame("fold_batch_norm", name, shape, mean);
    }
    return [2, mean[0]];
  },
  vjp: null,
  reference: ({ inputs: [mean, variance, gamma, beta], attrs: { eps }, output }) => {
    const c = mean.length;
    for (let channel = 0; channel < c; channel++) {
      output[channel] = gamma[channel] / Math.sqrt(variance[channel] + eps);
      output[c + channel] = beta[channel] - mean[channel] * output[channel];
    }
  },
  native: ({ inputs: [mean], attrs: { eps } }) => ({
    kernel: "fold_batch_norm",
    params: [mean.shape[0], eps],
  }),
});

type ConvAttrs = Parameters<typeof conv2dOp.shape>[1];

/** The kernel of an op with more flags, and with other parameters behind them where some are given. */
export function withFlags(
  call: ReturnType<Op["native"]>,
  flags: readonly boolean[],
  ...more: number[]
): KernelCall {
  if (!("kernel" in call)) throw new Error("a convolution is no view");
  const { kernel, params } = call;
  const bits = flags.reduce((sum, on, bit) => sum + (on ? 2 ** bit : 0), 0);
  return {
    kernel,
    params: [...params.slice(0, 13), params[13] | bits, ...(more.length > 0 ? more : params.slice(14))],
  };
}

export interface ConvFusedAttrs extends ConvAttrs {
  readonly affine: boolean;
  readonly bias: boolean;
  readonly residual: boolean;
  readonly relu: boolean;
  readonly sigmoid: boolean;
  /** A `batch_statistics_along` of the result follows. */
  readonly statistics: boolean;
  /** A `mean_along` of the result follows. */
  readonly mean: boolean;
  /** An `extreme_along` of the result follows. */
  readonly extreme: boolean;
}

/** A convolution that nothing follows. */
export const unfinished = {
  affine: false,
  bias: false,
  residual: false,
  relu: false,
  sigmoid: false,
  statistics: false,
  mean: false,
  extreme: false,
} as const;

/**
 * Convolution, then what is asked for of: scale and shift of each channel or a bias, a residual, ReLU; or the sigmoid.
 * x [N,I,H,W], w [O,I,KH,KW], affine [2,O] or bias [O,1,1], residual [N,O,OH,OW] → [N,O,OH,OW]; γ [O] for
 * `extreme_along`.
 */
export const convFusedOp = defineOp<ConvFusedAttrs>({
  name: "conv2d_fused",
  shape: ([x, w, ...rest], attrs) => {
    const y = convolvedShape("conv2d_fused", x, w, attrs);
    if (attrs.affine) expectSame("conv2d_fused", "affine", rest.shift() ?? [], [2, w[0]]);
    if (attrs.bias) expectSame("conv2d_fused", "bias", rest.shift() ?? [], [w[0], 1, 1]);
    if (attrs.residual) expectSame("conv2d_fused", "residual", rest.shift() ?? [], y);
    if (attrs.extreme) expectSame("conv2d_fused", "gamma", rest.shift() ?? [], [w[0]]);
    return y;
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs: [x, w, ...rest], shapes, attrs, output, outputShape }) => {
    conv2dOp.reference({ inputs: [x, w], shapes: shapes.slice(0, 2), attrs, output, outputShape });
    const [, channels, height, width] = outputShape;
    const affine = attrs.affine ? rest.shift() : undefined;
    const bias = attrs.bias ? rest.shift() : undefined;
    const residual = attrs.residual ? rest.shift() : undefined;
    for (let i = 0; i < output.length; i++) {
      const channel = Math.floor(i / (height * width)) % channels;
      if (affine) output[i] = output[i] * affine[channel] + affine[channels + channel];
      if (bias) output[i] += bias[channel];
      if (residual) output[i] += residual[i];
      if (attrs.relu) output[i] = Math.max(output[i], 0);
      if (attrs.sigmoid) output[i] = 1 / (1 + Math.exp(-output[i]));
    }
  },
  native: (node) => {
    const { affine, bias, residual, relu, sigmoid, statistics, mean, extreme } = node.attrs;
    if (residual) expectLayout("conv2d_fused", "residual", node.inputs[affine || bias ? 3 : 2], "activation");
    const pair = false;
    const flags = [affine, residual, relu, statistics, mean, extreme, pair, bias, sigmoid];
    return withFlags(conv2dOp.native(node), flags);
  },
  multiplyAdds: ({ inputs: [, w], output }) => sizeOf(output.shape) * sizeOf(w.shape.slice(1)),
});

/** batch_statistics of a fused convolution, computed by its record. */
export const statisticsAlongOp: Op<null> = defineOp({
  ...batchStatisticsOp,
  name: "batch_statistics_along",
  native: () => ({ along: 0 }),
});

/** Mean over the pixels of each image of a fused convolution, computed by its record. [N,O,H,W] → [N,O,1,1]. */
export const meanAlongOp: Op<Over> = defineOp({
  ...meanOp,
  name: "mean_along",
  vjp: null,
  native: () => ({ along: 0, place: 1 }),
});

/**
 * What γ·y has its largest value at, of the pixels of each image: the largest y, the smallest where γ < 0; where γ is 0
 * at all of them, of which it is the mean; NaN wins. Computed by the record of a fused convolution.
 * y [N,O,H,W], γ [O] → [N,O,1,1].
 */
export const extremeAlongOp = defineOp<null>({
  name: "extreme_along",
  shape: ([y, gamma]) => {
    expectSame("extreme_along", "gamma", gamma, [y[1]]);
    return [y[0], y[1], 1, 1];
  },
  vjp: null,
  reference: ({ inputs: [y, gamma], shapes: [[, channels, height, width]], output }) => {
    const pixels = height * width;
    for (let i = 0; i < output.length; i++) {
      const values = y.subarray(i * pixels, (i + 1) * pixels);
      const rate = gamma[i % channels];
      if (rate === 0) output[i] = values.reduce((sum, value) => sum + value, 0) / pixels;
      else output[i] = rate < 0 ? Math.min(...values) : Math.max(...values);
    }
  },
  native: () => ({ along: 0, place: 2 }),
});

export interface InputGradFusedAttrs extends ConvAttrs {
  readonly input: Shape;
  readonly residual: boolean;
  /** ReLU's gradient: by the `value` of its output y, or where y is ReLU of the batch `norm` of x. */
  readonly mask: "none" | "value" | "norm";
  /** A `batch_norm_grad_sums_along` of the result and x follows. */
  readonly sums: boolean;
  /** Two `image_sums_along` of the result and `beside` follow; `gated`, of it times a gate, and two `pixel_sums_along`. */
  readonly images: "none" | "sums" | "gated";
  readonly eps: number;
}

/** Inputs of the fused input gradient by their part. */
export function inputGradParts<T>([dy, w, ...rest]: readonly T[], attrs: InputGradFusedAttrs) {
  const take = (present: boolean) => (present ? rest.shift() : undefined);
  const norm = attrs.mask === "norm";
  const [images, gated] = [attrs.images !== "none", attrs.images === "gated"];
  const residual = take(attrs.residual);
  const mask = take(attrs.mask === "value");
  const [x, statistics] = [take(norm || attrs.sums), take(norm || attrs.sums)];
  const [beside, besideStatistics] = [take(images), take(images)];
  const [gamma, beta] = [take(norm || gated), take(norm || gated)];
  const [byChannel, byPixel, largest] = [take(gated), take(gated), take(gated)];
  return {
    dy,
    w,
    residual,
    mask,
    x,
    statistics,
    beside,
    besideStatistics,
    gamma,
    beta,
    byChannel,
    byPixel,
    largest,
  };
}

/**
 * Input gradient of a convolution, then what is asked for of: a residual, the mask of ReLU's gradient.
 * dy [N,O,OH,OW], w [O,I,KH,KW], residual, mask, x [N,I,H,W], statistics [2,I], what image sums stand beside and its
 * statistics, γ, β [I], gates [N,I,1,1] and [N,1,H,W], largest [N,1,H,W] → [N,I,H,W].
 * A stride longer than the kernel is refused: the positions it leaves out would get none of it.
 */
export const inputGradFusedOp = defineOp<InputGradFusedAttrs>({
  name: "conv2d_input_grad_fused",
  shape: (shapes, attrs) => {
    const parts = inputGradParts(shapes, attrs);
    const dx = conv2dInputGradOp.shape([parts.dy, parts.w], attrs);
    const channels = [dx[1]];
    const expected = {
      residual: dx,
      mask: dx,
      x: dx,
      statistics: [2, dx[1]],
      beside: dx,
      besideStatistics: [2, dx[1]],
      gamma: channels,
      beta: channels,
      byChannel: [dx[0], dx[1], 1, 1],
      byPixel: [dx[0], 1, dx[2], dx[3]],
      largest: [dx[0], 1, dx[2], dx[3]],
    };
    for (const [name, shape] of Object.entries(expected)) {
      const given = parts[name as keyof typeof expected];
      if (given) expectSame("conv2d_input_grad_fused", name, given, shape);
    }
    if (leavesGaps(parts.w, attrs)) {
      throw new ShapeError(
        "conv2d_input_grad_fused",
        `stride ${attrs.stride.join("×")} is longer than the kernel`,
      );
    }
    return dx;
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs, shapes, attrs, output, outputShape }) => {
    const values = inputGradParts(inputs, attrs);
    const at = inputGradParts(shapes, attrs);
    conv2dInputGradOp.reference({
      inputs: [values.dy, values.w],
      shapes: [at.dy, at.w],
      attrs,
      output,
      outputShape,
    });
    values.residual?.forEach((value, i) => {
      output[i] += value;
    });
    let mask = values.mask;
    if (attrs.mask === "norm") {
      const normalize = [values.x!, values.statistics!, values.gamma!, values.beta!];
      mask = reluOfNorm(normalize, [at.x!, at.statistics!, at.gamma!, at.beta!], attrs.eps);
    }
    if (!mask) return;
    const dx = { inputs: [output.slice(), mask], shapes: [outputShape, outputShape], attrs: null };
    reluGradOp.reference({ ...dx, output, outputShape });
  },
  native: (node) => {
    const { residual, mask, sums, images, eps } = node.attrs;
    const plain = conv2dInputGradOp.native(node as Node<InputGradFusedAttrs>);
    const { residual: r, mask: m, x, beside } = inputGradParts(node.inputs, node.attrs);
    for (const [name, tensor] of Object.entries({ residual: r, mask: m, x, beside })) {
      if (tensor) expectLayout("conv2d_input_grad_fused", name, tensor, "activation");
    }
    const flags = [residual, mask === "value", mask === "norm", sums, images !== "none", images === "gated"];
    return withFlags(plain, flags, eps);
  },
  // what images are summed beside is read once the result is written
  inPlace: ({ inputs, attrs }) => {
    const { residual, mask, x, beside } = inputGradParts([...inputs.keys()], attrs);
    const before = [residual, mask, x].filter((k) => k !== undefined);
    return before.filter((k) => beside === undefined || inputs[k] !== inputs[beside]);
  },
  multiplyAdds: (node) => conv2dInputGradOp.multiplyAdds!(node),
});

/** Whether a convolution's stride passes over positions of its input. w [O,I,KH,KW]. */
export const leavesGaps = (w: Shape, { stride }: ConvAttrs) => stride[0] > w[2] || stride[1] > w[3];

/** batch_norm_grad_sums of a fused input gradient and the x it was given, computed by its record. */
export const gradSumsAlongOp: Op<{ eps: number }> = defineOp({
  ...batchNormGradSumsOp,
  name: "batch_norm_grad_sums_along",
  native: () => ({ along: 0 }),
});

/**
 * Σ_p g·s of each image, g a fused input gradient, s a gate of its pixels or 1; with `x̂`, Σ_p g·s·x̂. Computed by the
 * record of g. g, x [N,C,H,W], statistics [2,C], s [N,1,H,W] → [N,C,1,1].
 */
export const imageSumsAlongOp = defineOp<{ readonly normalized: boolean; readonly eps: number }>({
  name: "image_sums_along",
  shape: ([g, x, statistics, ...rest]) => {
    expectSame("image_sums_along", "x", x, g);
    expectSame("image_sums_along", "statistics", statistics, [2, g[1]]);
    for (const s of rest) expectSame("image_sums_along", "gate", s, [g[0], 1, g[2], g[3]]);
    return [g[0], g[1], 1, 1];
  },
  vjp: null,
  reference: ({ inputs: [g, x, statistics, s], shapes: [[, c, h, w]], attrs, output }) => {
    const pixels = h * w;
    output.fill(0);
    for (let i = 0; i < g.length; i++) {
      const [at, channel] = [Math.floor(i / pixels), Math.floor(i / pixels) % c];
      const gate = s ? s[Math.floor(at / c) * pixels + (i % pixels)] : 1;
      const hat = (x[i] - statistics[channel]) / Math.sqrt(statistics[c + channel] + attrs.eps);
      output[at] += g[i] * gate * (attrs.normalized ? hat : 1);
    }
  },
  native: ({ attrs: { normalized } }) => ({ along: 0, place: normalized ? 2 : 1 }),
});

/**
 * Sums over the channels of u = a·batch_norm(x), x and a of a fused input gradient g whose record computes them: Σ_c g·u,
 * the gradient of a gate of pixels; or how many u are the `largest`.
 * g, x [N,C,H,W], statistics [2,C], γ, β [C], a [N,C,1,1], largest [N,1,H,W] for `ties` → [N,1,H,W].
 */
export const pixelSumsAlongOp = defineOp<{ readonly of: "gradient" | "ties"; readonly eps: number }>({
  name: "pixel_sums_along",
  shape: ([g, x, statistics, gamma, beta, a, ...rest]) => {
    const sums: Shape = [g[0], 1, g[2], g[3]];
    expectSame("pixel_sums_along", "x", x, g);
    expectSame("pixel_sums_along", "statistics", statistics, [2, g[1]]);
    for (const [name, shape] of Object.entries({ gamma, beta })) {
      expectSame("pixel_sums_along", name, shape, [g[1]]);
    }
    expectSame("pixel_sums_along", "gate", a, [g[0], g[1], 1, 1]);
    for (const largest of rest) expectSame("pixel_sums_along", "largest", largest, sums);
    return sums;
  },
  vjp: null,
  reference: ({ inputs: [g, ...rest], shapes, attrs: { of, eps }, output }) => {
    const [, c, h, w] = shapes[0];
    const y = normOf(rest.slice(0, 4), shapes.slice(1, 5), eps);
    const [a, largest] = rest.slice(4);
    const pixels = h * w;
    output.fill(0);
    for (let i = 0; i < g.length; i++) {
      const at = Math.floor(i / pixels);
      const to = Math.floor(at / c) * pixels + (i % pixels);
      const u = y[i] * a[at];
      output[to] += of === "gradient" ? g[i] * u : Number(!(u < largest[to] || u > largest[to]));
    }
  },
  native: ({ attrs }) => ({ along: 0, place: attrs.of === "gradient" ? 3 : 4 }),
});

/**
 * Weight gradient of a convolution whose input is the batch normalisation of x, or ReLU of it, computed as x is read.
 * x [N,I,H,W], statistics [2,I], γ, β [I], dy [N,O,OH,OW] → [O,I,KH,KW].
 */
export const weightGradOfNormOp = defineOp<ConvAttrs & { weight: Shape; eps: number; relu: boolean }>({
  name: "conv2d_weight_grad_of_norm",
  shape: ([x, statistics, gamma, beta, dy], attrs) => {
    const name = "conv2d_weight_grad_of_norm";
    expectSame(name, "dy", dy, convolvedShape(name, x, attrs.weight, attrs));
    expectSame(name, "statistics", statistics, [2, x[1]]);
    for (const [vector, shape] of Object.entries({ gamma, beta })) expectSame(name, vector, shape, [x[1]]);
    return attrs.weight;
  },
  layout: "kernel",
  vjp: null,
  reference: ({ inputs, shapes, attrs, output, outputShape }) => {
    const x = reluOfNorm(inputs, shapes, attrs.eps, attrs.relu);
    const both = { inputs: [x, inputs[4]], shapes: [shapes[0], shapes[4]] };
    conv2dWeightGradOp.reference({ ...both, attrs, output, outputShape });
  },
  native: (node) => {
    const [x, , , , dy] = node.inputs;
    const plain = conv2dWeightGradOp.native({ ...node, inputs: [x, dy] });
    return withFlags(plain, [true, node.attrs.relu], node.attrs.eps);
  },
  multiplyAdds: ({ inputs: [, , , , dy], output }) => sizeOf(dy.shape) * sizeOf(output.shape.slice(1)),
});

function normOf(inputs: readonly Float64Array[], shapes: readonly Shape[], eps: number): Float64Array {
  const at = { attrs: { eps }, output: new Float64Array(inputs[0].length), outputShape: shapes[0] };
  batchNormOp.reference({ inputs: inputs.slice(0, 4), shapes: shapes.slice(0, 4), ...at });
  return at.output;
}

function reluOfNorm(
  inputs: readonly Float64Array[],
  shapes: readonly Shape[],
  eps: number,
  relu = true,
): Float64Array {
  const output = normOf(inputs, shapes, eps);
  return relu ? output.map((value) => Math.max(value, 0)) : output;
}
