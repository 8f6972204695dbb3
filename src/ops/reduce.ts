import type { Shape, Tensor } from "../tensor/tensor.ts";
import { expandedStrides, forEachBroadcast } from "./broadcast.ts";
import { broadcastTo, divide, equalOp, scale, selectEqualOp, sumTo } from "./elementwise.ts";
import { apply, defineOp, expectRank } from "./op.ts";

/** Axes a reduction goes over, kept with length 1: `spatial` [N,C,H,W] → [N,C,1,1], `channel` → [N,1,H,W]. */
export interface Over {
  readonly over: "spatial" | "channel";
}

function reducedShape(op: string, x: Shape, { over }: Over): Shape {
  expectRank(op, "x", x, 4);
  return over === "spatial" ? [x[0], x[1], 1, 1] : [x[0], 1, x[2], x[3]];
}

const count = (x: Shape, { over }: Over) => (over === "spatial" ? x[2] * x[3] : x[1]);

/** N C H W of the larger tensor. */
const kernel = (name: string, { over }: Over, x: Tensor) => ({
  kernel: `${name}_${over}`,
  params: [...x.shape],
});

/** Mean over space (global average pooling) or over channels. */
export const meanOp = defineOp<Over>({
  name: "mean",
  shape: ([x], over) => reducedShape("mean", x, over),
  vjp: (dy, { inputs: [x], attrs }) => [broadcastTo(scale(dy, 1 / count(x.shape, attrs)), x.shape)],
  reference: ({ inputs: [x], shapes: [xs], attrs, output, outputShape }) => {
    output.fill(0);
    const n = count(xs, attrs);
    forEachBroadcast(xs, [expandedStrides(outputShape, xs)], (at, [to]) => {
      output[to] += x[at] / n;
    });
  },
  native: ({ inputs: [x], attrs }) => kernel("mean", attrs, x),
});

/** Largest value over space (global max pooling) or over channels; NaN wins. Its gradient is shared among equals. */
export const maxOp = defineOp<Over>({
  name: "max",
  shape: ([x], over) => reducedShape("max", x, over),
  vjp: (dy, { inputs: [x], output: y }) => {
    const winners = sumTo(apply(equalOp, [x, y], null), y.shape);
    return [apply(selectEqualOp, [x, y, divide(dy, winners)], null)];
  },
  reference: ({ inputs: [x], shapes: [xs], output, outputShape }) => {
    output.fill(-Infinity);
    forEachBroadcast(xs, [expandedStrides(outputShape, xs)], (at, [to]) => {
      if (x[at] > output[to] || Number.isNaN(x[at])) output[to] = x[at];
    });
  },
  native: ({ inputs: [x], attrs }) => kernel("max", attrs, x),
});

export const mean = (x: Tensor, over: Over["over"]) => apply(meanOp, [x], { over });
export const max = (x: Tensor, over: Over["over"]) => apply(maxOp, [x], { over });
export const globalAvgPool = (x: Tensor) => mean(x, "spatial");
export const globalMaxPool = (x: Tensor) => max(x, "spatial");
