import { ShapeError } from "../tensor/errors.ts";
import { physicalStrides, sameMemoryOrder } from "../tensor/layout.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { expandedStrides, forEachBroadcast } from "./broadcast.ts";
import { apply, defineOp, expectRank, type Op } from "./op.ts";

/** One value everywhere. → [shape]. */
export const constantOp = defineOp<{ shape: Shape; value: number }>({
  name: "constant",
  shape: (_, { shape }) => shape,
  layout: "activation",
  vjp: () => [],
  reference: ({ attrs: { value }, output }) => output.fill(value),
  native: ({ attrs: { value }, output }) => ({ kernel: "constant", params: [sizeOf(output.shape), value] }),
});

/** The same elements in the same logical order under another shape. */
export const reshapeOp: Op<{ shape: Shape }> = defineOp({
  name: "reshape",
  shape: ([x], { shape }) => {
    if (sizeOf(x) !== sizeOf(shape)) {
      throw new ShapeError(
        "reshape",
        `${showShape(x)} has ${sizeOf(x)} elements, ${showShape(shape)} ${sizeOf(shape)}`,
      );
    }
    return shape;
  },
  vjp: (dy, { inputs: [x] }) => [apply(reshapeOp, [dy], { shape: x.shape })],
  reference: ({ inputs: [x], output }) => output.set(x),
  native: ({ inputs: [x], output }) =>
    sameMemoryOrder(x, output) ? { alias: 0 } : { kernel: "reshape", params: logicalWalk(x, output) },
});

/** Four extents, then four strides. */
function walk(extents: readonly number[], strides: readonly number[]): number[] {
  const missing = 4 - extents.length;
  return [...new Array(missing).fill(1), ...extents, ...new Array(missing).fill(0), ...strides];
}

/** Each tensor in logical order, by physical strides. */
const logicalWalk = (...tensors: Tensor[]) => tensors.flatMap((x) => walk(x.shape, physicalStrides(x)));

/** Axes in another order: axis k of the output is axis `order[k]` of x. At most 4 of them. */
export const permuteOp: Op<{ order: readonly number[] }> = defineOp({
  name: "permute",
  shape: ([x], { order }) => {
    if (order.length > 4 || [...order].sort().join() !== [...x.keys()].join()) {
      throw new ShapeError("permute", `[${order}] is no order of the axes of x ${showShape(x)}`);
    }
    return order.map((axis) => x[axis]);
  },
  layout: "activation",
  vjp: (dy, { attrs: { order } }) => [
    permute(
      dy,
      [...order.keys()].map((axis) => order.indexOf(axis)),
    ),
  ],
  reference: ({ inputs: [x], shapes: [xs], attrs: { order }, output, outputShape }) => {
    const strides = expandedStrides(xs, xs);
    forEachBroadcast(outputShape, [order.map((axis) => strides[axis])], (at, [from]) => {
      output[at] = x[from];
    });
  },
  native: ({ inputs: [x], attrs: { order }, output }) => {
    const strides = physicalStrides(x);
    const turned = order.map((axis) => strides[axis]);
    return { kernel: "reshape", params: [...walk(output.shape, turned), ...logicalWalk(output)] };
  },
});

/** a and b one after the other along the channels. [N,A,H,W], [N,B,H,W] → [N,A+B,H,W]. */
export const concatOp = defineOp<null>({
  name: "concat",
  shape: ([a, b]) => {
    expectRank("concat", "a", a, 4);
    expectRank("concat", "b", b, 4);
    if (a[0] !== b[0] || a[2] !== b[2] || a[3] !== b[3]) {
      throw new ShapeError(
        "concat",
        `${showShape(a)} and ${showShape(b)} differ in more than their channels`,
      );
    }
    return [a[0], a[1] + b[1], a[2], a[3]];
  },
  vjp: (dy, { inputs: [a, b] }) => [
    sliceChannels(dy, 0, a.shape[1]),
    sliceChannels(dy, a.shape[1], b.shape[1]),
  ],
  reference: ({ inputs: [a, b], shapes: [as, bs], output }) => {
    const [blockA, blockB] = [sizeOf(as.slice(1)), sizeOf(bs.slice(1))];
    for (let n = 0; n < as[0]; n++) {
      output.set(a.subarray(n * blockA, (n + 1) * blockA), n * (blockA + blockB));
      output.set(b.subarray(n * blockB, (n + 1) * blockB), n * (blockA + blockB) + blockA);
    }
  },
  native: ({ inputs: [a, b] }) => ({
    kernel: "concat",
    params: [a.shape[0] * a.shape[2] * a.shape[3], a.shape[1], b.shape[1]],
  }),
});

/** Channels `start` to `start + count`. [N,C,H,W] → [N,count,H,W]. */
export const sliceChannelsOp = defineOp<{ start: number; count: number }>({
  name: "slice_channels",
  shape: ([x], { start, count }) => {
    expectRank("slice_channels", "x", x, 4);
    if (start < 0 || count < 1 || start + count > x[1]) {
      throw new ShapeError(
        "slice_channels",
        `channels ${start} to ${start + count} are not in x ${showShape(x)}`,
      );
    }
    return [x[0], count, x[2], x[3]];
  },
  vjp: null,
  reference: ({ inputs: [x], shapes: [xs], attrs: { start, count }, output }) => {
    const pixels = xs[2] * xs[3];
    for (let n = 0; n < xs[0]; n++) {
      const from = (n * xs[1] + start) * pixels;
      output.set(x.subarray(from, from + count * pixels), n * count * pixels);
    }
  },
  native: ({ inputs: [x], attrs: { start, count } }) => ({
    kernel: "slice_channels",
    params: [x.shape[0] * x.shape[2] * x.shape[3], x.shape[1], start, count],
  }),
});

/** Rows and columns on each side of a map; below 0 they are taken away. */
export interface Margins {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** x with `value` around it. [N,C,H,W] → [N,C,top+H+bottom,left+W+right]. */
export const pad2dOp: Op<Margins & { value: number }> = defineOp({
  name: "pad2d",
  shape: ([x], { top, bottom, left, right }) => {
    expectRank("pad2d", "x", x, 4);
    const [height, width] = [top + x[2] + bottom, left + x[3] + right];
    if (!Number.isInteger(height) || !Number.isInteger(width) || height < 1 || width < 1) {
      throw new ShapeError(
        "pad2d",
        `margins ${[top, bottom, left, right]} leave nothing of x ${showShape(x)}`,
      );
    }
    return [x[0], x[1], height, width];
  },
  layout: "activation",
  vjp: (dy, { attrs: { top, bottom, left, right } }) => [
    pad2d(dy, { top: -top, bottom: -bottom, left: -left, right: -right }),
  ],
  reference: ({ inputs: [x], shapes: [[, , h, w]], attrs: { top, left, value }, output, outputShape }) => {
    const [, , height, width] = outputShape;
    for (let at = 0; at < output.length; at++) {
      const column = (at % width) - left;
      const row = (Math.floor(at / width) % height) - top;
      const map = Math.floor(at / (width * height));
      const inside = row >= 0 && row < h && column >= 0 && column < w;
      output[at] = inside ? x[(map * h + row) * w + column] : value;
    }
  },
  native: ({ inputs: [x], attrs: { top, left, value }, output }) => ({
    kernel: "pad2d",
    params: [...x.shape, output.shape[2], output.shape[3], top, left, value],
  }),
});

/** Row `index` of x [R,C] → [C]. */
export const rowOp = defineOp<{ index: number }>({
  name: "row",
  shape: ([x], { index }) => {
    expectRank("row", "x", x, 2);
    if (index < 0 || index >= x[0]) throw new ShapeError("row", `x ${showShape(x)} has no row ${index}`);
    return [x[1]];
  },
  vjp: null,
  reference: ({ inputs: [x], attrs: { index }, output }) =>
    output.set(x.subarray(index * output.length, (index + 1) * output.length)),
  native: ({ inputs: [x], attrs: { index }, output }) =>
    // a kernel [O,I] lies transposed: its row is a column there
    x.layout === "kernel"
      ? { kernel: "slice_channels", params: [x.shape[1], x.shape[0], index, 1] }
      : { alias: index * output.shape[0] },
});

export const constant = (shape: Shape, value: number) => apply(constantOp, [], { shape, value });
export const reshape = (x: Tensor, shape: Shape) => apply(reshapeOp, [x], { shape });
export const permute = (x: Tensor, order: readonly number[]) => apply(permuteOp, [x], { order });
export const concat = (a: Tensor, b: Tensor) => apply(concatOp, [a, b], null);
export const pad2d = (x: Tensor, margins: Margins, value = 0) => apply(pad2dOp, [x], { ...margins, value });
export const row = (x: Tensor, index: number) => apply(rowOp, [x], { index });
export const sliceChannels = (x: Tensor, start: number, count: number) =>
  apply(sliceChannelsOp, [x], { start, count });
