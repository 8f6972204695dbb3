import { ShapeError } from "../tensor/errors.ts";
import { showShape, sizeOf } from "../tensor/tensor.ts";
import { conv2dOp, convolvedShape } from "./conv.ts";
import { defineOp, expectSame } from "./op.ts";

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

/**
 * Convolution, then scale and shift of each channel, then a residual, then ReLU, in one pass over the output.
 * x [N,I,H,W], w [O,I,KH,KW], affine [2,O], residual [N,O,OH,OW] (may be left out) → [N,O,OH,OW].
 */
export const convAffineOp = defineOp<ConvAttrs & { relu: boolean }>({
  name: "conv2d_affine",
  shape: ([x, w, affine, residual], attrs) => {
    const y = convolvedShape("conv2d_affine", x, w, attrs);
    expectSame("conv2d_affine", "affine", affine, [2, w[0]]);
    if (residual) expectSame("conv2d_affine", "residual", residual, y);
    return y;
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs: [x, w, affine, residual], shapes, attrs, output, outputShape }) => {
    conv2dOp.reference({ inputs: [x, w], shapes: shapes.slice(0, 2), attrs, output, outputShape });
    const [, channels, height, width] = outputShape;
    for (let i = 0; i < output.length; i++) {
      const channel = Math.floor(i / (height * width)) % channels;
      const y = output[i] * affine[channel] + affine[channels + channel] + (residual?.[i] ?? 0);
      output[i] = attrs.relu ? Math.max(y, 0) : y;
    }
  },
  native: (node) => {
    const call = conv2dOp.native(node);
    if ("alias" in call) throw new Error("a convolution is no view");
    const kernel = node.inputs.length === 4 ? "conv2d_affine_add" : "conv2d_affine";
    return { kernel, params: [...call.params, Number(node.attrs.relu)] };
  },
  multiplyAdds: ({ inputs: [, w], output }) => sizeOf(output.shape) * sizeOf(w.shape.slice(1)),
});
