import {
  batchNorm,
  batchNormGradSumsOp,
  batchNormInferenceOp,
  batchNormInputGradOp,
  batchNormOp,
  batchStatistics,
  batchStatisticsOp,
  updateRunningOp,
} from "../../../src/ops/batch-norm.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import { normal, offset, positive, type Values } from "../../support/values.ts";
import { type OpCase, opCase, opCases, operand } from "./types.ts";

const shapes: readonly Shape[] = [
  [1, 1, 1, 1],
  [3, 5, 1, 1],
  [1, 17, 4, 7],
  [3, 33, 5, 3],
  [3, 1, 6, 5],
  [1, 67, 2, 2],
];
const large: Shape = [3, 67, 23, 19];
/** Many values in few channels: long sums. */
const long: Shape = [8, 8, 32, 32];
/** Many values of one channel. */
const single: Shape = [2, 1, 40, 33];
const attrs = { eps: 1e-5 };
const keras = { eps: 1e-3 };

const over = <A>(make: (x: Shape, large: boolean) => OpCase<A>): OpCase<A>[] => [
  ...shapes.map((x) => make(x, false)),
  make(large, true),
  make(long, true),
];

/** Means in the first row, variances in the second. */
const statistics: Values = (shape, seed) => {
  const values = normal(shape, seed);
  values.set(positive(shape, seed).subarray(values.length / 2), values.length / 2);
  return values;
};

const perChannel = ([, c]: Shape) => ({ vector: [c] as Shape, rows: [2, c] as Shape });
const rows = ([, c]: Shape) => [[0, c] as const, [c, 2 * c] as const];

/**
 * Tighter than elsewhere: rounding of statistics moves whole channels across the kinks of ReLUs, and three steps of
 * training then end several percent apart from those of programs that sum in double precision.
 */
const exact = { value: 5e-7, reason: "sums are to be taken in double precision, or in short runs" };

const x: Shape = [2, 3, 4, 5];
const vector: Shape = [3];
const twoRows: Shape = [2, 3];

export const batchNorms = [
  opCases({
    op: batchStatisticsOp,
    cases: [
      ...over((shape, isLarge) => opCase([operand(shape)], null, [], isLarge)),
      ...over((shape, isLarge) => ({
        ...opCase([operand(shape, offset(30, 1))], null, [], isLarge),
        title: `${shape.join("×")} around 30`,
      })),
    ],
    refusals: [{ shapes: [[3, 5]], attrs: null, says: ["4 dimensions", "[3,5]"] }],
    parts: rows,
    tolerance: exact,
  }),
  opCases({
    op: batchNormOp,
    build: ([x, , gamma, beta], { eps }) => batchNorm(x, batchStatistics(x), gamma, beta, eps),
    cases: [attrs, keras].flatMap((eps) =>
      over((shape, isLarge) => {
        const { vector, rows } = perChannel(shape);
        const operands = [operand(shape), operand(rows, statistics), operand(vector), operand(vector)];
        return opCase(operands, eps, isLarge ? [] : [0, 2, 3], isLarge);
      }),
    ),
    refusals: [
      { shapes: [[3, 4], [2, 4], [4], [4]], attrs, says: ["x must have 4 dimensions", "[3,4]"] },
      {
        shapes: [x, twoRows, [4], vector],
        attrs,
        says: ["gamma [4] does not fit x [2,3,4,5] with 3 channels"],
      },
      { shapes: [x, twoRows, vector, [1, 3]], attrs, says: ["beta [1,3] does not fit x [2,3,4,5]"] },
      { shapes: [x, [3, 2], vector, vector], attrs, says: ["statistics expects [2,3], has [3,2]"] },
    ],
  }),
  opCases({
    op: batchNormGradSumsOp,
    parts: rows,
    tolerance: exact,
    cases: [
      ...over((shape, isLarge) =>
        opCase(
          [operand(shape), operand(shape), operand(perChannel(shape).rows, statistics)],
          attrs,
          [],
          isLarge,
        ),
      ),
      // of one sign: nothing but the sum itself tells how exact it should be
      opCase([operand(single, positive), operand(single, offset(30, 1)), operand([2, 1], statistics)], attrs),
    ],
    refusals: [
      { shapes: [[2, 3, 4, 4], x, twoRows], attrs, says: ["dy expects [2,3,4,5], has [2,3,4,4]"] },
      { shapes: [x, x, [2, 4]], attrs, says: ["statistics expects [2,3], has [2,4]"] },
    ],
  }),
  opCases({
    op: batchNormInputGradOp,
    cases: over((shape, isLarge) => {
      const { vector, rows } = perChannel(shape);
      const operands = [
        operand(shape),
        operand(shape),
        operand(rows, statistics),
        operand(vector),
        operand(rows),
      ];
      return opCase(operands, attrs, [], isLarge);
    }),
    refusals: [
      {
        shapes: [[2, 3, 4, 4], x, twoRows, vector, twoRows],
        attrs,
        says: ["dy expects [2,3,4,5]", "[2,3,4,4]"],
      },
      { shapes: [x, x, [2, 4], vector, twoRows], attrs, says: ["statistics expects [2,3], has [2,4]"] },
      { shapes: [x, x, twoRows, [4], twoRows], attrs, says: ["gamma [4] does not fit x [2,3,4,5]"] },
      { shapes: [x, x, twoRows, vector, [3, 2]], attrs, says: ["sums expects [2,3], has [3,2]"] },
    ],
  }),
  opCases({
    op: batchNormInferenceOp,
    cases: over((shape, isLarge) => {
      const { vector } = perChannel(shape);
      const vectors = [operand(vector), operand(vector, positive), operand(vector), operand(vector)];
      return opCase([operand(shape), ...vectors], attrs, isLarge ? [] : [0, 3, 4], isLarge);
    }),
    refusals: [
      { shapes: [[3, 4], [4], [4], [4], [4]], attrs, says: ["x must have 4 dimensions", "[3,4]"] },
      { shapes: [x, [4], vector, vector, vector], attrs, says: ["mean [4] does not fit x [2,3,4,5]"] },
      { shapes: [x, vector, [4], vector, vector], attrs, says: ["variance [4] does not fit x [2,3,4,5]"] },
      { shapes: [x, vector, vector, [2, 3], vector], attrs, says: ["gamma [2,3] does not fit x [2,3,4,5]"] },
      { shapes: [x, vector, vector, vector, [1]], attrs, says: ["beta [1] does not fit x [2,3,4,5]"] },
    ],
  }),
  opCases({
    op: updateRunningOp,
    cases: [1, 3, 17, 67].flatMap((c) =>
      [
        { momentum: 0.1, count: 12 },
        { momentum: 0.01, count: 1 },
        { momentum: 1, count: 2 },
      ].map((attrs) => opCase([operand([c]), operand([c], positive), operand([2, c], statistics)], attrs)),
    ),
    refusals: [
      {
        shapes: [[3], [4], [2, 3]],
        attrs: { momentum: 0.1, count: 8 },
        says: ["variance expects [3], has [4]"],
      },
      {
        shapes: [[3], [3], [3, 2]],
        attrs: { momentum: 0.1, count: 8 },
        says: ["statistics expects [2,3], has [3,2]"],
      },
    ],
  }),
];
