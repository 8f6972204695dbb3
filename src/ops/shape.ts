import { ShapeError } from "../tensor/errors.ts";
import { physicalStrides, sameMemoryOrder } from "../tensor/layout.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
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

/** For each tensor four logical extents, then four physical strides. */
function logicalWalk(...tensors: Tensor[]): number[] {
  const pad = (values: readonly number[], fill: number) => [
    ...new Array(4 - values.length).fill(fill),
    ...values,
  ];
  return tensors.flatMap((x) => [...pad(x.shape, 1), ...pad(physicalStrides(x), 0)]);
}

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
export const concat = (a: Tensor, b: Tensor) => apply(concatOp, [a, b], null);
export const row = (x: Tensor, index: number) => apply(rowOp, [x], { index });
export const sliceChannels = (x: Tensor, start: number, count: number) =>
  apply(sliceChannelsOp, [x], { start, count });
