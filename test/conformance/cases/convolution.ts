import {
  channelConvOp,
  channelConvWeightGradOp,
  conv2dInputGradOp,
  conv2dOp,
  conv2dWeightGradOp,
} from "../../../src/ops/conv.ts";
import type { Op } from "../../../src/ops/op.ts";
import { type Shape, sizeOf } from "../../../src/tensor/tensor.ts";
import { positionOf } from "../../support/compare.ts";
import { kernel, type OpCase, opCase, opCases, operand } from "./types.ts";

export interface Convolution {
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
  readonly attrs: { readonly stride: readonly [number, number]; readonly padding: readonly [number, number] };
}

type Pair = readonly [number, number];

export function convolution(
  [n, ic, oc]: readonly [number, number, number],
  [h, w]: Pair,
  [kh, kw]: Pair,
  stride: Pair,
  padding: Pair,
): Convolution {
  const [x, weight, attrs] = [[n, ic, h, w], [oc, ic, kh, kw], { stride, padding }];
  return { x, w: weight, y: conv2dOp.shape([x, weight], attrs), attrs };
}

/** batch and channels · map · kernel · stride · padding */
export const geometries: readonly Convolution[] = [
  convolution([1, 1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
  convolution([1, 3, 5], [7, 5], [3, 3], [1, 1], [1, 1]),
  convolution([3, 5, 17], [6, 9], [3, 3], [2, 2], [1, 1]),
  convolution([1, 17, 33], [5, 4], [1, 1], [1, 1], [0, 0]),
  convolution([3, 33, 67], [4, 7], [1, 1], [2, 2], [0, 0]),
  convolution([1, 67, 3], [9, 8], [3, 3], [3, 3], [0, 0]),
  convolution([3, 3, 17], [11, 13], [7, 7], [2, 2], [3, 3]),
  convolution([3, 2, 1], [5, 6], [7, 7], [1, 1], [3, 3]),
  convolution([1, 5, 3], [2, 3], [5, 5], [1, 1], [2, 2]),
  convolution([3, 5, 5], [6, 5], [2, 2], [1, 1], [0, 0]),
  convolution([1, 3, 17], [8, 7], [4, 4], [2, 2], [1, 1]),
  convolution([3, 17, 5], [5, 8], [2, 4], [2, 1], [1, 2]),
  convolution([1, 3, 5], [1, 1], [3, 3], [1, 1], [1, 1]),
  convolution([3, 5, 3], [1, 1], [3, 3], [2, 2], [1, 1]),
  convolution([1, 3, 5], [3, 4], [3, 3], [3, 2], [3, 3]),
  convolution([1, 5, 3], [5, 4], [1, 1], [1, 1], [1, 1]),
  convolution([1, 5, 3], [7, 8], [2, 2], [3, 3], [0, 0]),
  convolution([3, 1, 17], [4, 5], [1, 3], [1, 1], [0, 1]),
  convolution([5, 16, 32], [8, 8], [3, 3], [1, 1], [1, 1]),
];

export const largeGeometries: readonly Convolution[] = [
  convolution([3, 33, 17], [23, 19], [3, 3], [1, 1], [1, 1]),
  convolution([2, 64, 64], [14, 14], [3, 3], [2, 2], [1, 1]),
  convolution([3, 67, 130], [13, 11], [1, 1], [1, 1], [0, 0]),
  convolution([1, 3, 64], [37, 41], [7, 7], [2, 2], [3, 3]),
  convolution([2, 300, 17], [5, 5], [3, 3], [1, 1], [1, 1]),
  convolution([17, 40, 72], [4, 4], [3, 3], [1, 1], [1, 1]),
  convolution([2, 9, 520], [6, 5], [3, 3], [1, 1], [1, 1]),
  convolution([40, 20, 256], [1, 1], [3, 3], [1, 1], [1, 1]),
  convolution([50, 24, 272], [2, 2], [1, 1], [1, 1], [0, 0]),
  // images of few pixels, several of which the native engine sums together
  convolution([90, 64, 72], [2, 2], [1, 1], [1, 1], [0, 0]),
  convolution([40, 16, 33], [3, 3], [1, 1], [1, 1], [0, 0]),
  // few pixels, whose products the native engine cuts into chunks
  convolution([40, 300, 70], [1, 1], [1, 1], [1, 1], [0, 0]),
  convolution([30, 270, 48], [2, 3], [2, 3], [1, 1], [0, 0]),
  convolution([18, 5, 1040], [1, 1], [1, 1], [1, 1], [0, 0]),
  convolution([20, 3, 5], [1, 1], [1, 1], [3, 3], [1, 1]),
  // small maps, an image a lane of the native engine's vectors
  convolution([37, 2, 1], [4, 3], [7, 7], [1, 1], [3, 3]),
  convolution([33, 1, 3], [8, 7], [3, 3], [1, 1], [1, 1]),
  convolution([16, 2, 2], [4, 4], [2, 4], [1, 1], [1, 2]),
  // images too large for one block of the native engine, which then cuts them into rows
  convolution([1, 130, 5], [30, 31], [3, 3], [1, 1], [1, 1]),
  convolution([1, 150, 17], [33, 29], [3, 3], [2, 2], [1, 1]),
  convolution([2, 520, 33], [17, 13], [1, 1], [2, 2], [0, 0]),
  convolution([1, 3, 33], [150, 157], [7, 7], [2, 2], [3, 3]),
];

/** One case a geometry, of the operands that `operandsOf` names. */
export const over = <A>(make: (at: Convolution, large: boolean) => OpCase<A>): OpCase<A>[] => [
  ...geometries.map((at) => make(at, false)),
  ...largeGeometries.map((at) => make(at, true)),
];

/** x with its border of zeros written out. */
export function padded(
  values: Float32Array,
  shape: Shape,
  [ph, pw]: Pair,
): { values: Float32Array; shape: Shape } {
  const [n, c, h, w] = shape;
  const to = [n, c, h + 2 * ph, w + 2 * pw];
  const result = new Float32Array(sizeOf(to));
  values.forEach((value, i) => {
    const [image, channel, row, column] = positionOf(i, shape);
    result[((image * c + channel) * to[2] + row + ph) * to[3] + column + pw] = value;
  });
  return { values: result, shape: to };
}

/** Whether the native engine may take tiles of 4×4 outputs for a convolution (Winograd): NaN spreads over a tile. */
const takesTiles = (w: Shape, { stride, padding }: Convolution["attrs"]) =>
  [...w.slice(2), ...stride, ...padding].join() === "3,3,1,1,1,1";

/** Elements in a group, as `groupOf` forms them, with one that the oracle finds not finite. */
export function spread<A>(
  op: Op<A>,
  { attrs, operands }: OpCase<A>,
  values: readonly Float32Array[],
  groupOf: (position: readonly number[]) => string,
): (index: number) => boolean {
  const shapes = operands.map(({ shape }) => shape);
  const outputShape = op.shape(shapes, attrs);
  const output = new Float64Array(sizeOf(outputShape));
  op.reference({ inputs: values.map((x) => Float64Array.from(x)), shapes, attrs, output, outputShape });
  const groups = new Set<string>();
  output.forEach((value, i) => {
    if (!Number.isFinite(value)) groups.add(groupOf(positionOf(i, outputShape)));
  });
  return (index) => groups.has(groupOf(positionOf(index, outputShape)));
}

/** The tile of all channels that a pixel lies in. */
export const tileOf = ([n, , h, w]: readonly number[]) => `${n} ${Math.floor(h / 4)} ${Math.floor(w / 4)}`;
/** All taps of a kernel. */
export const kernelOf = ([o, i]: readonly number[]) => `${o} ${i}`;

/** `known`, and where the native engine takes tiles what shares a group with something not finite. */
export function orSpread<A extends Convolution["attrs"]>(
  known: (index: number) => boolean,
  op: Op<A>,
  at: OpCase<A>,
  w: Shape,
  values: readonly Float32Array[],
  groupOf: (position: readonly number[]) => string,
): (index: number) => boolean {
  if (!takesTiles(w, at.attrs)) return known;
  const spoilt = spread(op, at, values, groupOf);
  return (index) => known(index) || spoilt(index);
}

/** Where a convolution that multiplies the zeros of the border, as IEEE 754 has it, is NaN. */
export function nanOverBorder<A extends Convolution["attrs"]>(
  op: Op<A>,
  { attrs, operands }: OpCase<A>,
  values: readonly Float32Array[],
): (index: number) => boolean {
  const wide = padded(values[0], operands[0].shape, attrs.padding);
  const flat = { ...attrs, padding: [0, 0] };
  const shapes = [wide.shape, ...operands.slice(1).map(({ shape }) => shape)];
  const outputShape = op.shape(shapes, flat);
  const output = new Float64Array(sizeOf(outputShape));
  const inputs = [wide.values, ...values.slice(1)].map((x) => Float64Array.from(x));
  op.reference({ inputs, shapes, attrs: flat, output, outputShape });
  return (index) => Number.isNaN(output[index]);
}

/** A kernel may meet zeros between and around the gradients of a stride: anything of its input channel. */
export function nanOfKernel(
  { attrs: { input }, operands }: OpCase<{ readonly input: Shape }>,
  operand: number,
  values: readonly Float32Array[],
): (index: number) => boolean {
  if (operand !== 1) return () => false;
  const channels = [...values[1]].map((v, i) => (Number.isNaN(v) ? positionOf(i, operands[1].shape)[1] : -1));
  return (index) => channels.includes(positionOf(index, input)[1]);
}

const { x, w, y, attrs } = convolution([2, 3, 4], [5, 6], [3, 3], [1, 1], [1, 1]);

export const convolutions = [
  opCases({
    op: conv2dOp,
    cases: over((at, large) => opCase([operand(at.x), kernel(at.w)], at.attrs, large ? [] : [0, 1], large)),
    refusals: [
      { shapes: [[3, 5, 6], w], attrs, says: ["x must have 4 dimensions", "[3,5,6]"] },
      { shapes: [x, [4, 3]], attrs, says: ["weight must have 4 dimensions", "[4,3]"] },
      { shapes: [[2, 7, 5, 6], w], attrs, says: ["weight expects 3 input channels, x [2,7,5,6] has 7"] },
      {
        shapes: [
          [2, 3, 5, 2],
          [4, 3, 3, 5],
        ],
        attrs,
        says: ["window 3×5 does not fit x [2,3,5,2] with padding 1×1"],
      },
      { shapes: [x, w], attrs: { ...attrs, stride: [0, 1] }, says: ["stride", "0×1"] },
      { shapes: [x, w], attrs: { ...attrs, stride: [1, 1.5] }, says: ["stride", "1×1.5"] },
      { shapes: [x, w], attrs: { ...attrs, padding: [-1, 0] }, says: ["padding", "-1×0"] },
    ],
    mayBeNaN: (at, _, values) =>
      orSpread(nanOverBorder(conv2dOp, at, values), conv2dOp, at, at.operands[1].shape, values, tileOf),
  }),
  opCases({
    op: conv2dInputGradOp,
    cases: over((at, large) =>
      opCase([operand(at.y), kernel(at.w)], { ...at.attrs, input: at.x }, [], large),
    ),
    refusals: [
      {
        shapes: [[2, 4, 5, 5], w],
        attrs: { ...attrs, input: x },
        says: ["dy expects [2,4,5,6], has [2,4,5,5]"],
      },
      {
        shapes: [y, [4, 3, 3]],
        attrs: { ...attrs, input: x },
        says: ["weight must have 4 dimensions", "[4,3,3]"],
      },
    ],
    mayBeNaN: (at, operand, values) =>
      orSpread(nanOfKernel(at, operand, values), conv2dInputGradOp, at, at.operands[1].shape, values, tileOf),
  }),
  opCases({
    op: conv2dWeightGradOp,
    cases: over((at, large) =>
      opCase([operand(at.x), operand(at.y)], { ...at.attrs, weight: at.w }, [], large),
    ),
    refusals: [
      {
        shapes: [x, [2, 5, 5, 6]],
        attrs: { ...attrs, weight: w },
        says: ["dy expects [2,4,5,6], has [2,5,5,6]"],
      },
      { shapes: [[2, 2, 5, 6], y], attrs: { ...attrs, weight: w }, says: ["[2,2,5,6]", "3 input channels"] },
    ],
    mayBeNaN: (at, _, values) =>
      orSpread(
        nanOverBorder(conv2dWeightGradOp, at, values),
        conv2dWeightGradOp,
        at,
        at.attrs.weight,
        values,
        kernelOf,
      ),
  }),
];

/** batch · channels · kernel, longer than the channels too */
const channelGeometries: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 1, 3],
  [3, 2, 5],
  [1, 5, 3],
  [3, 17, 3],
  [3, 33, 5],
  [1, 67, 7],
  [3, 3, 9],
];

const overChannels = <A>(make: (n: number, c: number, k: number, flip: boolean) => OpCase<A>): OpCase<A>[] =>
  channelGeometries.flatMap(([n, c, k]) => [make(n, c, k, false), make(n, c, k, true)]);

export const channelConvolutions = [
  opCases({
    op: channelConvOp,
    cases: overChannels((n, c, k, flip) =>
      opCase([operand([n, c, 1, 1]), operand([1, 1, k])], { flip }, [0, 1]),
    ),
    refusals: [
      {
        shapes: [
          [2, 8, 3, 1],
          [1, 1, 3],
        ],
        attrs: { flip: false },
        says: ["[N,C,1,1]", "[2,8,3,1]"],
      },
      {
        shapes: [
          [2, 8],
          [1, 1, 3],
        ],
        attrs: { flip: false },
        says: ["[N,C,1,1]", "[2,8]"],
      },
      {
        shapes: [
          [2, 8, 1, 1],
          [1, 1, 4],
        ],
        attrs: { flip: false },
        says: ["K odd", "[1,1,4]"],
      },
      {
        shapes: [
          [2, 8, 1, 1],
          [1, 2, 3],
        ],
        attrs: { flip: true },
        says: ["[1,1,K]", "[1,2,3]"],
      },
    ],
  }),
  opCases({
    op: channelConvWeightGradOp,
    cases: overChannels((n, c, k, flip) =>
      opCase([operand([n, c, 1, 1]), operand([n, c, 1, 1])], { flip, weight: [1, 1, k] }),
    ),
    refusals: [
      {
        shapes: [
          [2, 8, 1, 1],
          [2, 9, 1, 1],
        ],
        attrs: { flip: false, weight: [1, 1, 3] },
        says: ["dy expects [2,8,1,1], has [2,9,1,1]"],
      },
      {
        shapes: [
          [2, 8, 2, 1],
          [2, 8, 2, 1],
        ],
        attrs: { flip: false, weight: [1, 1, 3] },
        says: ["[N,C,1,1]", "[2,8,2,1]"],
      },
    ],
  }),
];
