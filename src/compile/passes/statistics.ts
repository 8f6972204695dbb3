import { batchStatisticsOp } from "../../ops/batch-norm.ts";
import { conv2dOp } from "../../ops/conv.ts";
import { convFusedOp, statisticsAlongOp, unfinished } from "../../ops/fused.ts";
import { apply, nodeOf } from "../../ops/op.ts";
import { byRule, type Pass } from "../rewrite.ts";

type Attrs = Parameters<typeof conv2dOp.shape>[1];

/** The statistics of a batch norm are summed while the convolution before it stores its results. */
export const statisticsAlong: Pass = {
  name: "statistics along",
  summary: "a convolution sums the batch statistics of its results while it stores them",
  run: byRule(() => ({ op, inputs, attrs, readers }) => {
    if (op.name === conv2dOp.name && readers.some((reader) => reader.op.name === batchStatisticsOp.name)) {
      return apply(convFusedOp, inputs, { ...(attrs as Attrs), ...unfinished, statistics: true });
    }
    if (op.name !== batchStatisticsOp.name) return undefined;
    const source = nodeOf(inputs[0]);
    return source?.op.name === convFusedOp.name && (source.attrs as { statistics: boolean }).statistics
      ? apply(statisticsAlongOp, inputs, null)
      : undefined;
  }),
};
