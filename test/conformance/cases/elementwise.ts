import {
  addOp,
  broadcastToOp,
  divideOp,
  equalOp,
  multiplyOp,
  reluGradOp,
  reluOp,
  scaleOp,
  selectEqualOp,
  sigmoidGradOp,
  sigmoidOp,
  sumToOp,
} from "../../../src/ops/elementwise.ts";
import type { Op } from "../../../src/ops/op.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import {
  awayFromZero,
  distinct,
  listed,
  normal,
  offset,
  positive,
  ties,
  type Values,
} from "../../support/values.ts";
import { kernel, type OpCase, opCase, opCases, operand } from "./types.ts";

const shapes: readonly Shape[] = [
  [1],
  [67],
  [3, 10],
  [17, 1, 1],
  [1, 1, 1, 1],
  [3, 5, 4, 7],
  [1, 33, 1, 1],
  [3, 17, 5, 3],
];
const large: Shape = [3, 67, 23, 19];

/** Pairs that broadcast: the second into the first, the first into the second, each into the other. */
const pairs: readonly (readonly [Shape, Shape])[] = [
  [[1], [1]],
  [
    [3, 5, 4, 7],
    [3, 5, 4, 7],
  ],
  [
    [3, 17, 4, 7],
    [3, 17, 1, 1],
  ],
  [
    [3, 17, 4, 7],
    [3, 1, 4, 7],
  ],
  [
    [3, 1, 4, 7],
    [3, 17, 4, 7],
  ],
  [
    [1, 33, 5, 3],
    [33, 1, 1],
  ],
  [
    [3, 5, 4, 7],
    [1, 5, 1, 1],
  ],
  [
    [3, 5, 1, 1],
    [3, 1, 4, 7],
  ],
  [
    [1, 5, 2, 3],
    [3, 5, 2, 3],
  ],
  [[3, 10], [10]],
  [[10], [3, 10]],
  [
    [3, 1],
    [1, 7],
  ],
  [[3, 5, 4, 7], [1]],
  [[1], [3, 5, 4, 7]],
  [
    [5, 1, 3],
    [4, 1],
  ],
  [
    [1, 1, 1, 1],
    [3, 5, 2, 2],
  ],
  [[3, 5, 4, 7], [7]],
  [
    [3, 5, 4, 7],
    [4, 1],
  ],
];
const largePairs: readonly (readonly [Shape, Shape])[] = [
  [large, large],
  [large, [3, 67, 1, 1]],
  [large, [3, 1, 23, 19]],
  [large, [67, 1, 1]],
];

const both: readonly number[] = [0, 1];
const binaryCases = (first: Values, second: Values, differentiate: readonly number[]): OpCase<null>[] => [
  ...pairs.map(([a, b]) => opCase([operand(a, first), operand(b, second)], null, differentiate)),
  opCase([kernel([5, 3, 2, 4], first), kernel([5, 3, 2, 4], second)], null, differentiate),
  opCase([kernel([5, 3], first), kernel([5, 3], second)], null, differentiate),
  ...largePairs.map(([a, b]) => opCase([operand(a, first), operand(b, second)], null, [], true)),
];

const binary = (op: Op<null>, first = normal, second = normal, differentiate = both) =>
  opCases({
    op,
    cases: binaryCases(first, second, differentiate),
    refusals: [
      {
        shapes: [
          [3, 5, 4, 7],
          [3, 4, 4, 7],
        ],
        attrs: null,
        says: ["[3,5,4,7]", "[3,4,4,7]", "axis 1 has 5 and 4"],
      },
      { shapes: [[3, 10], [3]], attrs: null, says: ["[3,10]", "[3]", "axis 1 has 10 and 3"] },
      { shapes: [[2, 2, 2, 2, 2], [1]], attrs: null, says: ["[2,2,2,2,2]", "4"] },
    ],
    infinities: true,
  });

const unary = <A>(op: Op<A>, attrs: A, values: Values, differentiate: readonly number[] = [0]) =>
  opCases({
    op,
    cases: [
      ...shapes.map((shape) => opCase([operand(shape, values)], attrs, differentiate)),
      opCase([kernel([5, 3, 2, 4], values)], attrs, differentiate),
      opCase([operand(large, values)], attrs, [], true),
    ],
    refusals: "one operand of any shape",
    infinities: true,
  });

/** dy and the output y of an activation. */
const gradientOf = (op: Op<null>, values: Values) =>
  opCases({
    op,
    cases: [
      ...shapes.map((shape) => opCase([operand(shape), operand(shape, values)], null)),
      opCase([operand(large), operand(large, values)], null, [], true),
    ],
    refusals: [
      {
        shapes: [
          [3, 5],
          [3, 4],
        ],
        attrs: null,
        says: ["y expects [3,5], has [3,4]"],
      },
    ],
  });

/** [from, to] by broadcasting. */
const expansions: readonly (readonly [Shape, Shape])[] = [
  [[1], [67]],
  [[10], [3, 10]],
  [
    [3, 1],
    [3, 5],
  ],
  [[1], [3, 5, 4, 7]],
  [
    [17, 1, 1],
    [3, 17, 4, 7],
  ],
  [
    [3, 17, 1, 1],
    [3, 17, 4, 7],
  ],
  [
    [3, 1, 4, 7],
    [3, 17, 4, 7],
  ],
  [
    [1, 33, 1, 1],
    [3, 33, 2, 5],
  ],
  [
    [1, 1, 1, 1],
    [3, 5, 2, 2],
  ],
  [
    [1, 5, 2, 3],
    [3, 5, 2, 3],
  ],
  [[7], [3, 5, 4, 7]],
  [
    [4, 1],
    [3, 5, 4, 7],
  ],
];
const largeExpansions: readonly (readonly [Shape, Shape])[] = [
  [[67, 1, 1], large],
  [[3, 67, 1, 1], large],
  [[3, 1, 23, 19], large],
  [[1], large],
];

export const elementwise = [
  binary(addOp),
  binary(multiplyOp),
  binary(divideOp, normal, positive),
  binary(equalOp, ties, ties, []),
  opCases({
    op: selectEqualOp,
    cases: [
      ...expansions.map(([small, x]) =>
        opCase([operand(x, ties), operand(small, ties), operand(small)], null),
      ),
      opCase([operand([3, 5, 4, 7], ties), operand([3, 5, 4, 7], ties), operand([3, 1, 4, 7])], null),
      opCase([operand(large, ties), operand([3, 67, 1, 1], ties), operand([3, 67, 1, 1])], null, [], true),
    ],
    refusals: [
      {
        shapes: [
          [3, 5],
          [3, 4],
          [3, 5],
        ],
        attrs: null,
        says: ["[3,5]", "[3,4]"],
      },
      {
        shapes: [
          [3, 1],
          [3, 1],
          [3, 5],
        ],
        attrs: null,
        says: ["[3,5] does not broadcast to x [3,1]"],
      },
    ],
    infinities: true,
  }),
  opCases({
    ...unary(reluOp, null, awayFromZero),
    cases: [
      ...unary(reluOp, null, awayFromZero).cases,
      opCase([operand([7], listed(0, -0, 1e-38, -1e-38, 3e38, -3e38, 1))], null),
    ],
  }),
  gradientOf(reluGradOp, ties),
  opCases({
    ...unary(sigmoidOp, null, offset(0, 3)),
    cases: [
      ...unary(sigmoidOp, null, offset(0, 3)).cases,
      opCase([operand([9], listed(0, -0, 20, -20, 88, -88, 1000, -1000, 1e-30))], null),
    ],
  }),
  gradientOf(sigmoidGradOp, distinct),
  unary(scaleOp, { factor: -0.37 }, normal),
  opCases({
    op: sumToOp,
    cases: [
      ...expansions.map(([to, from]) => opCase([operand(from)], { shape: to }, [0])),
      ...largeExpansions.map(([to, from]) => opCase([operand(from)], { shape: to }, [], true)),
    ],
    refusals: [
      { shapes: [[3, 5, 4, 7]], attrs: { shape: [3, 4, 1, 1] }, says: ["[3,5,4,7]", "[3,4,1,1]"] },
      { shapes: [[3, 1]], attrs: { shape: [3, 5] }, says: ["[3,1]", "[3,5]"] },
    ],
  }),
  opCases({
    op: broadcastToOp,
    cases: [
      ...expansions.map(([from, to]) => opCase([operand(from)], { shape: to }, [0])),
      ...largeExpansions.map(([from, to]) => opCase([operand(from)], { shape: to }, [], true)),
    ],
    refusals: [
      { shapes: [[3, 4, 1, 1]], attrs: { shape: [3, 5, 4, 7] }, says: ["[3,4,1,1]", "[3,5,4,7]"] },
      { shapes: [[3, 5]], attrs: { shape: [3, 1] }, says: ["[3,5]", "[3,1]"] },
    ],
    infinities: true,
  }),
];
