import { conv2dOp, conv2dWeightGradOp } from "../../ops/conv.ts";
import { add, addOp } from "../../ops/elementwise.ts";
import { apply, type Op } from "../../ops/op.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass, type Place } from "../rewrite.ts";

/** op(a, c) + op(b, c) = op(a + b, c), for an op that is linear in its first input. */
function together<A>({ op, inputs: [x, y], only }: Place, linear: Op<A>): Tensor | undefined {
  if (op.name !== addOp.name || x === y) return undefined;
  const [left, right] = [only(x, linear), only(y, linear)];
  if (!left || !right || JSON.stringify(left.attrs) !== JSON.stringify(right.attrs)) return undefined;
  const [a, c] = left.inputs;
  const [b, other] = right.inputs;
  if (c !== other || !sameShape(a.shape, b.shape) || a.layout !== b.layout) return undefined;
  return apply(linear, [add(a, b), c], left.attrs);
}

/** What one kernel makes of two inputs, when only the sum is asked for; and so the kernel's gradient. */
export const oneProduct: Pass = {
  name: "one product",
  summary: "where results of one kernel are only added, its inputs are added instead and multiplied once",
  run: byRule(() => (place) => together(place, conv2dOp) ?? together(place, conv2dWeightGradOp)),
};
