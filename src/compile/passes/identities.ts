import { divideOp, equalOp, scaleOp, selectEqualOp } from "../../ops/elementwise.ts";
import { isView, nodeOf } from "../../ops/op.ts";
import { maxOp, meanOp } from "../../ops/reduce.ts";
import { constant, constantOp } from "../../ops/shape.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass, type Place } from "../rewrite.ts";

function isOne(x: Tensor): boolean {
  const node = nodeOf(x);
  return node?.op.name === constantOp.name && (node.attrs as { value: number }).value === 1;
}

/** A tensor that may stand for another: variables change, and who asks for a result wants what it was. */
function computed(x: Tensor): Tensor | undefined {
  const node = nodeOf(x);
  return node && !isView(node) ? x : undefined;
}

function sameValue({ op, inputs: [a, b, c], attrs, output }: Place): Tensor | undefined {
  switch (op.name) {
    case meanOp.name:
    case maxOp.name:
      return sameShape(a.shape, output.shape) ? computed(a) : undefined;
    case scaleOp.name:
      return (attrs as { factor: number }).factor === 1 ? computed(a) : undefined;
    case divideOp.name:
      return isOne(b) && sameShape(a.shape, output.shape) ? computed(a) : undefined;
    case equalOp.name:
      return a === b ? constant(a.shape, 1) : undefined;
    case selectEqualOp.name:
      return a === b && sameShape(c.shape, a.shape) ? computed(c) : undefined;
    default:
      return undefined;
  }
}

/** Mean and maximum of a single value are the value; so its pools, and all that is made of them, are equal. */
export const identities: Pass = {
  name: "identities",
  summary: "mean and maximum of one value are the value itself, and so are what follows from that",
  run: byRule(() => sameValue),
};
