import { conv2dOp, conv2dWeightGradOp } from "../../ops/conv.ts";
import { add, addOp } from "../../ops/elementwise.ts";
import { apply, type Op } from "../../ops/op.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass, type Place } from "../rewrite.ts";

/** op(a, c) + op(b, c) = op(a + b, c), for an op that is linear in the input `summed`. */
function together<A>({ op, inputs: [x, y], only }: Place, linear: Op<A>, summed: 0 | 1): Tensor | undefined {
  if (op.name !== addOp.name || x === y) return undefined;
  const [a, b] = [only(x, linear), only(y, linear)];
  if (!a || !b || a.inputs[1 - summed] !== b.inputs[1 - summed]) return undefined;
  if (JSON.stringify(a.attrs) !== JSON.stringify(b.attrs)) return undefined;
  const [left, right] = [a.inputs[summed], b.inputs[summed]];
  if (left.shape.join() !== right.shape.join() || left.layout !== right.layout) return undefined;
  const inputs = [...a.inputs];
  inputs[summed] = add(left, right);
  return apply(linear, inputs, a.attrs);
}

/** What one kernel makes of two inputs, when only the sum is asked for; and so the kernel's gradient. */
export const oneProduct: Pass = {
  name: "one product",
  summary: "where results of one kernel are only added, its inputs are added instead and multiplied once",
  run: byRule(() => (place) => together(place, conv2dOp, 0) ?? together(place, conv2dWeightGradOp, 0)),
};
