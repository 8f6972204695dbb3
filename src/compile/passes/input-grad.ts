import { batchNormGradSumsOp, batchNormOp } from "../../ops/batch-norm.ts";
import { conv2dInputGradOp } from "../../ops/conv.ts";
import { addOp, reluGradOp, reluOp } from "../../ops/elementwise.ts";
import {
  gradSumsAlongOp,
  type InputGradFusedAttrs,
  inputGradFusedOp,
  inputGradParts,
  leavesGaps,
} from "../../ops/fused.ts";
import { apply } from "../../ops/op.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { applied, byRule, type Pass, type Place } from "../rewrite.ts";

type Attrs = Parameters<typeof conv2dInputGradOp.shape>[1];

const none = { residual: false, mask: "none", sums: false, images: "none", eps: 0 } as const;

/** add(input gradient, residual) → the input gradient adds it; which of the two is the residual does not matter. */
function addResidual({ op, inputs: [a, b], only }: Place): Tensor | undefined {
  if (op.name !== addOp.name || !sameShape(a.shape, b.shape)) return undefined;
  for (const [dx, residual] of [
    [a, b],
    [b, a],
  ]) {
    const grad = only(dx, conv2dInputGradOp);
    if (!grad || leavesGaps(grad.inputs[1].shape, grad.attrs as Attrs)) continue;
    const attrs = { ...none, ...(grad.attrs as Attrs), residual: true };
    return apply(inputGradFusedOp, [...grad.inputs, residual], attrs);
  }
  return undefined;
}

/** relu_grad(input gradient, y) → the input gradient masks it, and sums what batch norm's gradient needs. */
function maskGradient({ op, inputs: [dx, y], only, readers, now }: Place): Tensor | undefined {
  if (op.name !== reluGradOp.name) return undefined;
  const grad = only(dx, conv2dInputGradOp) ?? only(dx, inputGradFusedOp);
  if (!grad || leavesGaps(grad.inputs[1].shape, grad.attrs as Attrs)) return undefined;
  const known = { ...none, ...(grad.attrs as Attrs) };
  if (known.mask !== "none") return undefined;
  const attrs = known as InputGradFusedAttrs;
  const sums = readers.find((reader) => reader.op.name === batchNormGradSumsOp.name);
  const [x, statistics] = sums ? sums.inputs.slice(1).map(now) : [];
  const norm = normOf(y);
  if (norm) {
    const together = sums !== undefined && x === norm.inputs[0];
    const { eps } = norm.attrs;
    return apply(inputGradFusedOp, [...grad.inputs, ...norm.inputs], {
      ...attrs,
      mask: "norm",
      sums: together,
      eps,
    });
  }
  const summed = x && statistics ? [x, statistics] : [];
  return apply(inputGradFusedOp, [...grad.inputs, y, ...summed], {
    ...attrs,
    mask: "value",
    sums: summed.length > 0,
    eps: summed.length > 0 ? (sums!.attrs as { eps: number }).eps : 0,
  });
}

/** The batch norm whose ReLU y is. */
function normOf(y: Tensor) {
  const relu = applied(y, reluOp);
  return relu && applied(relu.inputs[0], batchNormOp);
}

/** batch_norm_grad_sums(input gradient that sums them, x) → they are there. */
function sumsAlong({ op, inputs, attrs }: Place): Tensor | undefined {
  if (op.name !== batchNormGradSumsOp.name) return undefined;
  const grad = applied(inputs[0], inputGradFusedOp);
  if (!grad?.attrs.sums || inputGradParts(grad.inputs, grad.attrs).x !== inputs[1]) return undefined;
  return apply(gradSumsAlongOp, inputs, attrs as { eps: number });
}

export const fuseInputGrad: Pass = {
  name: "gradients in place",
  summary:
    "a convolution's input gradient adds the gradient of the other path, applies ReLU's mask and sums what the batch norm before needs, while it stores",
  run: byRule(() => (place) => addResidual(place) ?? maskGradient(place) ?? sumsAlong(place)),
};
