import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from "./conv.ts";
import { weightGradOfNormOp, withFlags } from "./fused.ts";
import { defineOp, expectSame, type KernelCall, type Op, type ReferenceCall } from "./op.ts";

// Convolutions of two tensors alike with one kernel, in one record that reads the kernel once. Compile passes make them
// of layers that an attention module applies to two pools; models are not written with them.

/** The kernel of an op, for a pair: six flags, then this one. */
const paired = (call: ReturnType<Op["native"]>): KernelCall =>
  withFlags(call, [...new Array<boolean>(6).fill(false), true]);

/** What an op linear in its first input makes of that and of a third one: the first result. a, w, b → op(a, w). */
const firstOf = <A>(op: Op<A>): Op<A> =>
  defineOp({
    ...op,
    name: `${op.name}_pair`,
    shape: ([a, w, b], attrs) => {
      expectSame(`${op.name}_pair`, "second", b, a);
      return op.shape([a, w], attrs);
    },
    vjp: null,
    reference: ({ inputs, shapes, ...call }) =>
      op.reference({ inputs: inputs.slice(0, 2), shapes: shapes.slice(0, 2), ...call }),
    native: (node) => paired(op.native(node)),
    multiplyAdds: (node) => 2 * op.multiplyAdds!(node),
  });

/** The second result, computed by the record of the first. op(a, w), b, w → op(b, w). */
const secondOf = <A>(op: Op<A>): Op<A> =>
  defineOp({
    ...op,
    name: `${op.name}_pair_along`,
    shape: ([, ...inputs], attrs) => op.shape(inputs, attrs),
    vjp: null,
    reference: ({ inputs, shapes, ...call }) =>
      op.reference({ inputs: inputs.slice(1), shapes: shapes.slice(1), ...call }),
    native: () => ({ along: 0 }),
    multiplyAdds: undefined,
  });

/** conv2d of two tensors, [N,I,1,1] each, with one kernel [O,I,1,1]. */
export const convPairOp = firstOf(conv2dOp);
export const convPairAlongOp = secondOf(conv2dOp);

/** conv2d_input_grad of two gradients, [N,O,1,1] each, with one kernel [O,I,1,1]. */
export const inputGradPairOp = firstOf(conv2dInputGradOp);
export const inputGradPairAlongOp = secondOf(conv2dInputGradOp);

/** The results of an op on some inputs and on others, added. */
function sumOfBoth<A>(
  op: Op<A>,
  { inputs, shapes, output, ...call }: ReferenceCall<A>,
  first: readonly number[],
  second: readonly number[],
): void {
  const other = output.slice();
  for (const [at, to] of [
    [first, output],
    [second, other],
  ] as const) {
    op.reference({ inputs: at.map((k) => inputs[k]), shapes: at.map((k) => shapes[k]), output: to, ...call });
  }
  for (let i = 0; i < output.length; i++) output[i] += other[i];
}

type WeightGradAttrs = Parameters<typeof conv2dWeightGradOp.shape>[1];

/** Sum of the weight gradients of two pairs of tensors. x [N,I,1,1], dy [N,O,1,1], x, dy alike → [O,I,1,1]. */
export const weightGradPairOp = defineOp<WeightGradAttrs>({
  ...conv2dWeightGradOp,
  name: "conv2d_weight_grad_pair",
  shape: ([x, dy, otherX, otherDy], attrs) => {
    expectSame("conv2d_weight_grad_pair", "second x", otherX, x);
    expectSame("conv2d_weight_grad_pair", "second dy", otherDy, dy);
    return conv2dWeightGradOp.shape([x, dy], attrs);
  },
  reference: (call) => sumOfBoth(conv2dWeightGradOp, call, [0, 1], [2, 3]),
  native: (node) => paired(conv2dWeightGradOp.native(node)),
  multiplyAdds: (node) => 2 * conv2dWeightGradOp.multiplyAdds!(node),
});

type WeightGradOfNormAttrs = Parameters<typeof weightGradOfNormOp.shape>[1];

/**
 * Sum of the weight gradients of two pairs of tensors, the first of each being what one batch normalisation makes of x.
 * x [N,I,1,1], statistics [2,I], γ, β [I], dy [N,O,1,1], x, dy alike → [O,I,1,1].
 */
export const weightGradOfNormPairOp = defineOp<WeightGradOfNormAttrs>({
  ...weightGradOfNormOp,
  name: "conv2d_weight_grad_of_norm_pair",
  shape: ([x, statistics, gamma, beta, dy, otherX, otherDy], attrs) => {
    expectSame("conv2d_weight_grad_of_norm_pair", "second x", otherX, x);
    expectSame("conv2d_weight_grad_of_norm_pair", "second dy", otherDy, dy);
    return weightGradOfNormOp.shape([x, statistics, gamma, beta, dy], attrs);
  },
  reference: (call) => sumOfBoth(weightGradOfNormOp, call, [0, 1, 2, 3, 4], [5, 1, 2, 3, 6]),
  native: (node) => paired(weightGradOfNormOp.native(node)),
  multiplyAdds: (node) => 2 * weightGradOfNormOp.multiplyAdds!(node),
});
