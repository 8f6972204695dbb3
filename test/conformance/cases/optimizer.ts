import { adamOp, sgdOp } from "../../../src/ops/optimizer.ts";
import type { Shape } from "../../../src/tensor/tensor.ts";
import { listed, positive } from "../../support/values.ts";
import { kernel, type Operand, opCase, opCases, operand } from "./types.ts";

const places: readonly Operand[] = [
  operand([1]),
  operand([67]),
  kernel([17, 5, 3, 3]),
  kernel([10, 33]),
  operand([1, 1, 5]),
];
const large = kernel([67, 33, 3, 3]);

const sgds = [
  { momentum: 0, nesterov: false, weightDecay: 0 },
  { momentum: 0.9, nesterov: false, weightDecay: 5e-4 },
  { momentum: 0.9, nesterov: true, weightDecay: 0.05 },
];
const adams = [
  { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
  { beta1: 0.5, beta2: 0.9, eps: 1e-3, weightDecay: 0.05 },
];
/** First step of PyTorch's Adam, a later one of AdamW's, Keras'. */
const rates = [
  [0.01, 31.6, 1],
  [1e-3, 1.2, 0.95],
  [3e-4, 1, 1],
] as const;

const like = (place: Operand, count: number) => new Array<Operand>(count).fill(place);
const four: Shape = [4];
const [sgd, adam] = [sgds[1], adams[0]];

export const optimizers = [
  opCases({
    op: sgdOp,
    cases: sgds.flatMap((attrs) => [
      ...places.map((place) => opCase([...like(place, 3), operand([1], listed(0.05))], attrs)),
      opCase([...like(large, 3), operand([1], listed(0.05))], attrs, [], true),
    ]),
    refusals: [
      { shapes: [four, [5], four, [1]], attrs: sgd, says: ["gradient expects [4], has [5]"] },
      { shapes: [four, four, [2, 2], [1]], attrs: sgd, says: ["velocity expects [4], has [2,2]"] },
      { shapes: [four, four, four, [3]], attrs: sgd, says: ["rate expects [1], has [3]"] },
    ],
  }),
  opCases({
    op: adamOp,
    cases: adams.flatMap((attrs) =>
      [...places, large].flatMap((place) =>
        rates.map((values) => ({
          ...opCase(
            [...like(place, 3), { ...place, values: positive }, operand([3], listed(...values))],
            attrs,
            [],
            place === large,
          ),
          title: `${place.shape.join("×")}, rates ${values.join(" ")}, ε ${attrs.eps}`,
        })),
      ),
    ),
    refusals: [
      { shapes: [four, [5], four, four, [3]], attrs: adam, says: ["gradient expects [4], has [5]"] },
      { shapes: [four, four, [1], four, [3]], attrs: adam, says: ["first moment expects [4], has [1]"] },
      { shapes: [four, four, four, [1], [3]], attrs: adam, says: ["second moment expects [4], has [1]"] },
      { shapes: [four, four, four, four, [1]], attrs: adam, says: ["rates expects [3], has [1]"] },
    ],
  }),
];
