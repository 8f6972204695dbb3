import { convAffineOp, foldBatchNormOp } from "../../../src/ops/folded.ts";
import { positive } from "../../support/values.ts";
import { convolution, nanOverBorder, over } from "./convolution.ts";
import { kernel, opCase, opCases, operand } from "./types.ts";

const { x, w, y, attrs } = convolution([2, 3, 4], [5, 6], [3, 3], [1, 1], [1, 1]);

/** Ops that compile passes make. */
export const folded = [
  opCases({
    op: foldBatchNormOp,
    cases: [1, 3, 17, 67].map((c) =>
      opCase([operand([c]), operand([c], positive), operand([c]), operand([c])], { eps: 1e-3 }),
    ),
    refusals: [
      { shapes: [[2, 3], [3], [3], [3]], attrs: { eps: 1e-5 }, says: ["mean must be [C], has [2,3]"] },
      { shapes: [[3], [4], [3], [3]], attrs: { eps: 1e-5 }, says: ["variance expects [3], has [4]"] },
      { shapes: [[3], [3], [2], [3]], attrs: { eps: 1e-5 }, says: ["gamma expects [3], has [2]"] },
      { shapes: [[3], [3], [3], [1]], attrs: { eps: 1e-5 }, says: ["beta expects [3], has [1]"] },
    ],
  }),
  opCases({
    op: convAffineOp,
    cases: [false, true].flatMap((relu) =>
      [false, true].flatMap((residual) =>
        over((at, large) => {
          const affine = operand([2, at.y[1]]);
          const operands = [operand(at.x), kernel(at.w), affine, ...(residual ? [operand(at.y)] : [])];
          return opCase(operands, { ...at.attrs, relu }, [], large);
        }),
      ),
    ),
    refusals: [
      {
        shapes: [x, [4, 3], [2, 4]],
        attrs: { ...attrs, relu: false },
        says: ["weight must have 4 dimensions"],
      },
      { shapes: [x, w, [2, 3]], attrs: { ...attrs, relu: false }, says: ["affine expects [2,4], has [2,3]"] },
      {
        shapes: [x, w, [2, 4], [2, 4, 5, 5]],
        attrs: { ...attrs, relu: true },
        says: [`residual expects [${y}], has [2,4,5,5]`],
      },
    ],
    infinities: false,
    mayBeNaN: (at, _, values) => nanOverBorder(convAffineOp, at, values),
  }),
];
