import { crossEntropyGradOp, crossEntropyOp } from "../../../src/ops/loss.ts";
import { classes, listed, normal, offset, type Values } from "../../support/values.ts";
import { type Operand, opCase, opCases, operand } from "./types.ts";

const labelsOf = (n: number, k: number): Operand => ({ ...operand([n], classes(k)), indices: true });

/** batch · classes */
const sizes = [
  [1, 1],
  [3, 2],
  [1, 10],
  [33, 17],
  [128, 1000],
] as const;
const smoothings = [{ labelSmoothing: 0 }, { labelSmoothing: 0.1 }, { labelSmoothing: 1 }];
const logits: readonly Values[] = [normal, offset(1000, 30)];

const plain = { labelSmoothing: 0 };

export const losses = [
  opCases({
    op: crossEntropyOp,
    cases: sizes.flatMap(([n, k]) =>
      smoothings.flatMap((attrs) =>
        logits.map((values, kind) => ({
          ...opCase(
            [operand([n, k], values), labelsOf(n, k)],
            attrs,
            kind === 0 && n < 100 ? [0] : [],
            n > 100,
          ),
          title: `${n}×${k} ${["around 0", "around 1000"][kind]}, smoothing ${attrs.labelSmoothing}`,
        })),
      ),
    ),
    refusals: [
      { shapes: [[3, 10], [4]], attrs: plain, says: ["labels [4] do not fit logits [3,10]"] },
      {
        shapes: [
          [3, 10],
          [3, 1],
        ],
        attrs: plain,
        says: ["labels [3,1] do not fit logits [3,10]"],
      },
      { shapes: [[3, 10, 1], [3]], attrs: plain, says: ["logits must have 2 dimensions", "[3,10,1]"] },
    ],
  }),
  opCases({
    op: crossEntropyGradOp,
    cases: sizes.flatMap(([n, k]) =>
      smoothings.flatMap((attrs) =>
        logits.map((values, kind) => ({
          ...opCase(
            [operand([1], listed(-1.7)), operand([n, k], values), labelsOf(n, k)],
            attrs,
            [],
            n > 100,
          ),
          title: `${n}×${k} ${["around 0", "around 1000"][kind]}, smoothing ${attrs.labelSmoothing}`,
        })),
      ),
    ),
    refusals: [
      { shapes: [[3], [3, 10], [3]], attrs: plain, says: ["dy expects [1], has [3]"] },
      { shapes: [[1], [3, 10], [4]], attrs: plain, says: ["labels [4] do not fit logits [3,10]"] },
    ],
  }),
];
