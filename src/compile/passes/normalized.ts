import { batchNormOp } from "../../ops/batch-norm.ts";
import { apply } from "../../ops/op.ts";
import { constant, constantOp } from "../../ops/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { applied } from "../rewrite.ts";

/** x̂: batch normalisation without γ and β. */
export function normalized(x: Tensor, statistics: Tensor, eps: number): Tensor {
  const channels = [x.shape[1]];
  return apply(batchNormOp, [x, statistics, constant(channels, 1), constant(channels, 0)], { eps });
}

const isConstant = (x: Tensor, value: number) => applied(x, constantOp)?.attrs.value === value;

/** The batch norm whose x̂ a tensor is: what it makes of x without γ and β. */
export function hatOf(y: Tensor | undefined) {
  const norm = applied(y, batchNormOp);
  return norm && isConstant(norm.inputs[2], 1) && isConstant(norm.inputs[3], 0) ? norm : undefined;
}
