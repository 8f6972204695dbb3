import { maxOp, meanOp, type Over } from "../../../src/ops/reduce.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import { distinct, normal, offset, type Values } from "../../support/values.ts";
import { type OpCase, opCase, opCases, operand, type Refusal } from "./types.ts";

const shapes: readonly Shape[] = [
  [1, 1, 1, 1],
  [3, 5, 1, 1],
  [1, 17, 4, 7],
  [3, 33, 5, 3],
  [1, 1, 6, 5],
  [3, 67, 2, 2],
  [3, 2, 8, 8],
];
const large: Shape = [3, 130, 23, 19];
const directions: readonly Over[] = [{ over: "spatial" }, { over: "channel" }];

const along = (make: (x: Shape, over: Over, large: boolean) => OpCase<Over>): OpCase<Over>[] =>
  directions.flatMap((over) => [...shapes.map((x) => make(x, over, false)), make(large, over, true)]);

const reducing = (values: Values) =>
  along((x, over, isLarge) => opCase<Over>([operand(x, values)], over, isLarge ? [] : [0], isLarge));

const refusals: readonly Refusal<Over>[] = [
  { shapes: [[3, 5]], attrs: { over: "spatial" }, says: ["4 dimensions", "[3,5]"] },
  { shapes: [[3, 5, 7]], attrs: { over: "channel" }, says: ["4 dimensions", "[3,5,7]"] },
];

export const reductions = [
  opCases({
    op: meanOp,
    cases: [...reducing(normal), ...reducing(offset(30, 1))],
    refusals,
    infinities: true,
  }),
  opCases({
    op: maxOp,
    cases: [
      ...reducing(distinct),
      opCase<Over>([operand([3, 5, 4, 4], offset(-50, 1))], { over: "spatial" }),
    ],
    refusals,
    infinities: true,
  }),
];
