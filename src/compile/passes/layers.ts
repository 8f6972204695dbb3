import { conv2dOp } from "../../ops/conv.ts";
import { addOp, reluOp, sigmoidOp } from "../../ops/elementwise.ts";
import { type ConvFusedAttrs, convFusedOp, unfinished } from "../../ops/fused.ts";
import { apply } from "../../ops/op.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass, type Place } from "../rewrite.ts";

type ConvAttrs = Parameters<typeof conv2dOp.shape>[1];

/** The convolution of which nobody else reads the results, and what it does to them. */
function convolutionOf(x: Tensor, only: Place["only"]) {
  const conv = only(x, conv2dOp) ?? only(x, convFusedOp);
  if (!conv) return undefined;
  const attrs: ConvFusedAttrs = { ...unfinished, ...(conv.attrs as ConvAttrs) };
  const { relu, sigmoid, statistics, mean, extreme } = attrs;
  const more = relu || sigmoid || statistics || mean || extreme;
  return more ? undefined : { inputs: conv.inputs, attrs };
}

/** add(convolution, bias); which of the two is the bias does not matter. */
function addBias({ op, inputs: [a, b], only }: Place): Tensor | undefined {
  if (op.name !== addOp.name) return undefined;
  for (const [x, bias] of [
    [a, b],
    [b, a],
  ]) {
    const conv = sameShape(bias.shape, [x.shape[1], 1, 1]) ? convolutionOf(x, only) : undefined;
    if (conv && !conv.attrs.affine && !conv.attrs.bias && !conv.attrs.residual) {
      return apply(convFusedOp, [...conv.inputs, bias], { ...conv.attrs, bias: true });
    }
  }
  return undefined;
}

function activate({ op, inputs: [x], only }: Place): Tensor | undefined {
  const [relu, sigmoid] = [op.name === reluOp.name, op.name === sigmoidOp.name];
  const conv = relu || sigmoid ? convolutionOf(x, only) : undefined;
  if (!conv || (sigmoid && conv.attrs.residual)) return undefined;
  return apply(convFusedOp, conv.inputs, { ...conv.attrs, relu, sigmoid });
}

export const finishLayers: Pass = {
  name: "finish layers",
  summary:
    "a convolution adds its bias and applies the ReLU or the sigmoid that follows as it stores its results",
  run: byRule(() => (place) => addBias(place) ?? activate(place)),
};
