import { avgPool2dGradOp, avgPool2dOp, maxPool2dGradOp, maxPool2dOp } from "../../../src/ops/pool.ts";
import { type Window2d, windowExtent } from "../../../src/ops/window.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import { distinct, normal, offset, ties } from "../../support/values.ts";
import { type OpCase, opCase, opCases, operand, type Refusal } from "./types.ts";

type Pair = readonly [number, number];

export interface Pooling {
  readonly x: Shape;
  readonly y: Shape;
  readonly window: Window2d;
}

export function pooling(x: Shape, kernel: Pair, stride: Pair, padding: Pair): Pooling {
  const window = { kernel, stride, padding };
  return { x, window, y: [x[0], x[1], ...windowExtent("pool", x, window)] };
}

const poolings: readonly Pooling[] = [
  pooling([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
  pooling([3, 5, 7, 4], [2, 2], [2, 2], [0, 0]),
  pooling([1, 17, 8, 9], [3, 3], [2, 2], [1, 1]),
  pooling([3, 3, 5, 6], [3, 3], [1, 1], [1, 1]),
  pooling([1, 33, 6, 5], [2, 2], [1, 1], [1, 1]),
  pooling([3, 5, 1, 1], [3, 3], [2, 2], [1, 1]),
  pooling([1, 3, 2, 3], [4, 4], [1, 1], [2, 2]),
  pooling([3, 2, 9, 8], [2, 3], [3, 1], [1, 0]),
  pooling([1, 67, 4, 3], [4, 3], [1, 1], [0, 0]),
  pooling([1, 5, 10, 11], [2, 2], [3, 3], [0, 0]),
  pooling([1, 1, 9, 7], [6, 7], [2, 3], [3, 3]),
];
const largePoolings: readonly Pooling[] = [pooling([3, 67, 21, 18], [3, 3], [2, 2], [1, 1])];

const over = <A>(make: (at: Pooling, large: boolean) => OpCase<A>): OpCase<A>[] => [
  ...poolings.map((at) => make(at, false)),
  ...largePoolings.map((at) => make(at, true)),
];

const window: Window2d = { kernel: [3, 3], stride: [2, 2], padding: [1, 1] };

const refusals: readonly Refusal<Window2d>[] = [
  { shapes: [[3, 5, 4]], attrs: window, says: ["4 dimensions", "[3,5,4]"] },
  {
    shapes: [[1, 2, 1, 5]],
    attrs: { ...window, kernel: [3, 3], padding: [0, 1] },
    says: ["window 3×3 does not fit x [1,2,1,5] with padding 0×1"],
  },
  {
    shapes: [[1, 2, 5, 5]],
    attrs: { ...window, padding: [1, 2] },
    says: ["padding 1×2 is more than half of window 3×3"],
  },
  { shapes: [[1, 2, 5, 5]], attrs: { ...window, stride: [2, 0] }, says: ["stride", "2×0"] },
  { shapes: [[1, 2, 5, 5]], attrs: { ...window, kernel: [0, 3], padding: [0, 0] }, says: ["0×3"] },
  { shapes: [[1, 2, 5, 5]], attrs: { ...window, padding: [0, -1] }, says: ["padding", "0×-1"] },
];

const gradRefusals = (x: Shape, shapes: Shape[]): Refusal<Window2d & { input: Shape }>[] => [
  {
    shapes,
    attrs: { ...window, input: x },
    says: ["dy expects [1,2,3,3], has [1,2,3,4]"],
  },
];

export const pools = [
  opCases({
    op: maxPool2dOp,
    cases: [
      ...over(({ x, window }, large) => opCase([operand(x, distinct)], window, large ? [] : [0], large)),
      ...over(({ x, window }) => opCase([operand(x, ties)], window)),
      // all values far below the 0 of a padding that must not win
      opCase([operand([1, 3, 4, 4], offset(-50, 1))], window),
    ],
    refusals,
    infinities: true,
  }),
  opCases({
    op: maxPool2dGradOp,
    cases: [
      ...over(({ x, y, window }, large) => opCase([operand(y), operand(x, distinct)], window, [], large)),
      ...over(({ x, y, window }) => opCase([operand(y), operand(x, ties)], window)),
    ],
    refusals: gradRefusals(
      [1, 2, 5, 5],
      [
        [1, 2, 3, 4],
        [1, 2, 5, 5],
      ],
    ),
    infinities: true,
  }),
  opCases({
    op: avgPool2dOp,
    cases: over(({ x, window }, large) => opCase([operand(x, normal)], window, large ? [] : [0], large)),
    refusals,
    infinities: true,
  }),
  opCases({
    op: avgPool2dGradOp,
    cases: over(({ x, y, window }, large) => opCase([operand(y)], { ...window, input: x }, [], large)),
    refusals: gradRefusals([1, 2, 5, 5], [[1, 2, 3, 4]]),
  }),
];
