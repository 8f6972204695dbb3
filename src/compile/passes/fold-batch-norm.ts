import { batchNormInferenceOp } from "../../ops/batch-norm.ts";
import { conv2dOp } from "../../ops/conv.ts";
import { addOp } from "../../ops/elementwise.ts";
import { convFusedOp, foldBatchNormOp, unfinished } from "../../ops/fused.ts";
import { apply } from "../../ops/op.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass, type Place } from "../rewrite.ts";

/** batch_norm_inference(conv2d(x, w)) → one convolution that scales and shifts what it stores. */
function foldNorm({ op, inputs, attrs, only }: Place): Tensor | undefined {
  if (op.name !== batchNormInferenceOp.name) return undefined;
  const [x, ...statistics] = inputs;
  const conv = only(x, conv2dOp);
  if (!conv) return undefined;
  const affine = apply(foldBatchNormOp, statistics, attrs as { eps: number });
  affine.label = conv.output.label;
  return apply(convFusedOp, [...conv.inputs, affine], { ...conv.attrs, ...unfinished, affine: true });
}

/** add(convolution, residual) → the convolution adds it; which of the two is the residual does not matter. */
function foldResidual({ op, inputs: [a, b], only }: Place): Tensor | undefined {
  if (op.name !== addOp.name || !sameShape(a.shape, b.shape)) return undefined;
  for (const [x, residual] of [
    [a, b],
    [b, a],
  ]) {
    const conv = only(x, convFusedOp);
    if (conv && !conv.attrs.residual && !conv.attrs.relu) {
      return apply(convFusedOp, [...conv.inputs, residual], { ...conv.attrs, residual: true });
    }
  }
  return undefined;
}

export const foldBatchNorm: Pass = {
  name: "fold batch norm",
  summary: "in evaluation a convolution applies the normalisation and the addition that follow it",
  run: byRule(() => (place) => foldNorm(place) ?? foldResidual(place)),
};
