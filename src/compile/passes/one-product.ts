import { conv2dOp, conv2dWeightGradOp } from "../../ops/conv.ts";
import { add, addOp } from "../../ops/elementwise.ts";
import { apply, type Op } from "../../ops/op.ts";
import { sameShape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { addends, byRule, type Pass, type Place } from "../rewrite.ts";

/** op(a, c) + op(b, c) = op(a + b, c), for an op that is linear in its first input. */
function together<A>(place: Place, linear: Op<A>): Tensor | undefined {
  const both = addends(place, linear);
  if (!both) return undefined;
  const [a, c] = both.left.inputs;
  const [b, other] = both.right.inputs;
  if (c !== other || !sameShape(a.shape, b.shape) || a.layout !== b.layout) return undefined;
  return apply(linear, [add(a, b), c], both.left.attrs);
}

/** op(a, c) + op(a, c) = op(a + a, c) = op(a, c + c), for an op that is linear in both: the smaller input is doubled. */
function twice<A>({ op, inputs: [x, y], only }: Place, linear: Op<A>): Tensor | undefined {
  const product = op.name === addOp.name && x === y ? only(x, linear, 2) : undefined;
  if (!product) return undefined;
  const [a, c] = product.inputs;
  const small = sizeOf(a.shape) < sizeOf(c.shape) ? a : c;
  if (sizeOf(small.shape) >= sizeOf(x.shape)) return undefined;
  const double = add(small, small);
  return apply(linear, small === a ? [double, c] : [a, double], product.attrs);
}

const less = <A>(place: Place, linear: Op<A>) => together(place, linear) ?? twice(place, linear);

/** What one kernel makes of two inputs, when only the sum is asked for; and so the kernel's gradient. */
export const oneProduct: Pass = {
  name: "one product",
  summary: "where results of one kernel are only added, its inputs are added instead and multiplied once",
  run: byRule(() => (place) => less(place, conv2dOp) ?? less(place, conv2dWeightGradOp)),
};
