import { batchNormOp } from "../../ops/batch-norm.ts";
import { conv2dWeightGradOp } from "../../ops/conv.ts";
import { reluOp } from "../../ops/elementwise.ts";
import { weightGradOfNormOp } from "../../ops/fused.ts";
import { apply, nodeOf } from "../../ops/op.ts";
import { byRule, type Pass } from "../rewrite.ts";

type Attrs = Parameters<typeof conv2dWeightGradOp.shape>[1];

/** conv2d_weight_grad(relu(batch_norm(x)), dy) → reads x, which is kept anyway. */
export const recomputeNorm: Pass = {
  name: "recompute norm",
  summary: "a weight gradient normalises its input as it reads it, so that only raw results are kept",
  run: byRule(() => ({ op, inputs: [x, dy], attrs }) => {
    if (op.name !== conv2dWeightGradOp.name) return undefined;
    const outer = nodeOf(x);
    const relu = outer?.op.name === reluOp.name;
    const norm = relu ? nodeOf(outer.inputs[0]) : outer;
    if (norm?.op.name !== batchNormOp.name) return undefined;
    const { eps } = norm.attrs as { eps: number };
    return apply(weightGradOfNormOp, [...norm.inputs, dy], { ...(attrs as Attrs), eps, relu });
  }),
};
