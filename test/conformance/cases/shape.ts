import { stackOp } from "../../../src/ops/batch-norm.ts";
import {
  concatOp,
  constantOp,
  type Margins,
  pad2dOp,
  permuteOp,
  reshapeOp,
  rowOp,
  sliceChannelsOp,
} from "../../../src/ops/shape.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import { kernel, opCase, opCases, operand } from "./types.ts";

const reshapes: readonly (readonly [Shape, Shape])[] = [
  [[1], [1, 1, 1, 1]],
  [
    [3, 17],
    [3, 17, 1, 1],
  ],
  [
    [3, 17, 1, 1],
    [3, 17],
  ],
  [[67], [67, 1, 1]],
  [
    [3, 5, 4, 7],
    [3, 140],
  ],
  [
    [3, 140],
    [3, 5, 4, 7],
  ],
  [[3, 5, 4, 7], [420]],
  [
    [3, 5, 4, 7],
    [7, 4, 5, 3],
  ],
  [
    [1, 5, 4, 7],
    [5, 1, 4, 7],
  ],
  [
    [3, 1, 4, 7],
    [3, 4, 7],
  ],
  [
    [3, 5, 28],
    [3, 5, 4, 7],
  ],
  [
    [3, 8, 2, 2],
    [3, 2, 4, 4],
  ],
];

const concatenations: readonly (readonly [Shape, Shape])[] = [
  [
    [1, 1, 1, 1],
    [1, 1, 1, 1],
  ],
  [
    [3, 1, 4, 7],
    [3, 1, 4, 7],
  ],
  [
    [3, 5, 4, 7],
    [3, 17, 4, 7],
  ],
  [
    [1, 33, 2, 3],
    [1, 3, 2, 3],
  ],
  [
    [3, 16, 5, 5],
    [3, 8, 5, 5],
  ],
];
const largeConcatenations: readonly (readonly [Shape, Shape])[] = [
  [
    [3, 1, 47, 39],
    [3, 1, 47, 39],
  ],
  [
    [3, 67, 23, 19],
    [3, 33, 23, 19],
  ],
];

const orders: readonly (readonly number[])[] = [
  [0, 1, 2, 3],
  [0, 2, 3, 1],
  [0, 3, 1, 2],
  [3, 2, 1, 0],
  [1, 0, 3, 2],
];

const around = (top: number, bottom: number, left: number, right: number): Margins => ({
  ...{ top, bottom, left, right },
});
const margins = [
  { ...around(0, 0, 0, 0), value: 0 },
  { ...around(1, 1, 1, 1), value: 0 },
  { ...around(0, 1, 2, 0), value: 1.25 },
  { ...around(-1, 0, 0, -2), value: 0 },
  { ...around(-1, 2, 1, -3), value: -0.5 },
];

const copies = { infinities: true } as const;

export const shapeOps = [
  opCases({
    op: constantOp,
    cases: [
      opCase([], { shape: [1], value: 1 }),
      opCase([], { shape: [67], value: -0.37 }),
      opCase([], { shape: [3, 5, 4, 7], value: 0 }),
      opCase([], { shape: [3, 67, 23, 19], value: 3e30 }),
    ],
    refusals: "no operands",
  }),
  opCases({
    op: reshapeOp,
    cases: [
      ...reshapes.map(([from, shape]) => opCase([operand(from)], { shape }, [0])),
      opCase([kernel([10, 17])], { shape: [10, 17, 1, 1] }, [0]),
      opCase([kernel([10, 17, 1, 1])], { shape: [10, 17] }, [0]),
      opCase([kernel([4, 3, 2, 5])], { shape: [4, 30] }, [0]),
      opCase([operand([3, 67, 23, 19])], { shape: [3, 67 * 23 * 19] }, [], true),
    ],
    refusals: [
      { shapes: [[3, 5, 4, 7]], attrs: { shape: [3, 141] }, says: ["[3,5,4,7]", "420", "[3,141]", "423"] },
    ],
    ...copies,
  }),
  opCases({
    op: permuteOp,
    cases: [
      ...orders.map((order) => opCase([operand([3, 5, 4, 7])], { order }, [0])),
      opCase([operand([3, 17])], { order: [1, 0] }, [0]),
      opCase([kernel([6, 5, 2, 3])], { order: [2, 3, 1, 0] }),
      opCase([operand([3, 67, 23, 19])], { order: [0, 3, 1, 2] }, [], true),
    ],
    refusals: [
      { shapes: [[3, 5, 4, 7]], attrs: { order: [0, 1, 2, 2] }, says: ["[0,1,2,2]", "[3,5,4,7]"] },
      { shapes: [[3, 5]], attrs: { order: [0, 1, 2] }, says: ["[0,1,2]", "[3,5]"] },
    ],
    ...copies,
  }),
  opCases({
    op: pad2dOp,
    cases: [
      ...margins.map((at) => opCase([operand([3, 5, 4, 7])], at, [0])),
      opCase([operand([1, 17, 1, 1])], { ...around(1, 2, 0, 1), value: -3.5 }, [0]),
      opCase([operand([3, 67, 23, 19])], { ...around(3, 2, 3, 2), value: 0 }, [], true),
    ],
    refusals: [
      { shapes: [[3, 5]], attrs: { ...around(1, 1, 1, 1), value: 0 }, says: ["4 dimensions", "[3,5]"] },
      {
        shapes: [[3, 5, 4, 7]],
        attrs: { ...around(-2, -2, 0, 0), value: 0 },
        says: ["-2,-2,0,0", "[3,5,4,7]"],
      },
      { shapes: [[3, 5, 4, 7]], attrs: { ...around(0.5, 0, 0, 0), value: 0 }, says: ["0.5,0,0,0"] },
    ],
    ...copies,
  }),
  opCases({
    op: concatOp,
    cases: [
      ...concatenations.map(([a, b]) => opCase([operand(a), operand(b)], null, [0, 1])),
      ...largeConcatenations.map(([a, b]) => opCase([operand(a), operand(b)], null, [], true)),
    ],
    refusals: [
      {
        shapes: [
          [3, 5],
          [3, 5, 4, 7],
        ],
        attrs: null,
        says: ["a must have 4 dimensions", "[3,5]"],
      },
      {
        shapes: [
          [3, 5, 4, 7],
          [3, 5],
        ],
        attrs: null,
        says: ["b must have 4 dimensions", "[3,5]"],
      },
      {
        shapes: [
          [3, 5, 4, 7],
          [3, 5, 7, 4],
        ],
        attrs: null,
        says: ["[3,5,4,7]", "[3,5,7,4]"],
      },
      {
        shapes: [
          [3, 5, 4, 7],
          [2, 5, 4, 7],
        ],
        attrs: null,
        says: ["[3,5,4,7]", "[2,5,4,7]"],
      },
    ],
    ...copies,
  }),
  opCases({
    op: sliceChannelsOp,
    cases: [
      opCase([operand([1, 1, 1, 1])], { start: 0, count: 1 }),
      opCase([operand([3, 17, 4, 7])], { start: 0, count: 5 }),
      opCase([operand([3, 17, 4, 7])], { start: 5, count: 12 }),
      opCase([operand([3, 33, 5, 3])], { start: 16, count: 1 }),
      opCase([operand([3, 67, 23, 19])], { start: 3, count: 33 }, [], true),
    ],
    refusals: [
      { shapes: [[3, 5]], attrs: { start: 0, count: 1 }, says: ["4 dimensions", "[3,5]"] },
      { shapes: [[3, 5, 4, 7]], attrs: { start: 3, count: 3 }, says: ["3 to 6", "[3,5,4,7]"] },
      { shapes: [[3, 5, 4, 7]], attrs: { start: -1, count: 3 }, says: ["-1 to 2", "[3,5,4,7]"] },
      { shapes: [[3, 5, 4, 7]], attrs: { start: 1, count: 0 }, says: ["[3,5,4,7]"] },
    ],
    ...copies,
  }),
  opCases({
    op: rowOp,
    cases: [
      opCase([operand([1, 1])], { index: 0 }),
      opCase([operand([2, 17])], { index: 0 }),
      opCase([operand([2, 17])], { index: 1 }),
      opCase([operand([5, 67])], { index: 3 }),
      opCase([kernel([5, 17])], { index: 3 }),
    ],
    refusals: [
      { shapes: [[17]], attrs: { index: 0 }, says: ["2 dimensions", "[17]"] },
      { shapes: [[2, 17]], attrs: { index: 2 }, says: ["[2,17]", "row 2"] },
      { shapes: [[2, 17]], attrs: { index: -1 }, says: ["[2,17]", "row -1"] },
    ],
    ...copies,
  }),
  opCases({
    op: stackOp,
    cases: [1, 3, 17, 67].map((c) => opCase([operand([c]), operand([c])], null, [0, 1])),
    refusals: [
      { shapes: [[3], [4]], attrs: null, says: ["b expects [3], has [4]"] },
      {
        shapes: [
          [3, 1],
          [3, 1],
        ],
        attrs: null,
        says: ["a must have 1 dimensions", "[3,1]"],
      },
    ],
    ...copies,
  }),
];
