import { inputSumsAlongOp, weightGradOfAffineOp } from "../../../src/ops/affine-layer.ts";
import {
  convFusedOp,
  extremeAlongOp,
  foldBatchNormOp,
  gradSumsAlongOp,
  type InputGradFusedAttrs,
  imageSumsAlongOp,
  inputGradFusedOp,
  leavesGaps,
  meanAlongOp,
  pixelSumsAlongOp,
  statisticsAlongOp,
  unfinished,
  weightGradOfNormOp,
} from "../../../src/ops/fused.ts";
import type { Op } from "../../../src/ops/op.ts";
import {
  convPairAlongOp,
  convPairOp,
  inputGradPairAlongOp,
  inputGradPairOp,
  weightGradOfNormPairOp,
  weightGradPairOp,
} from "../../../src/ops/pairs.ts";
import { positionOf } from "../../support/compare.ts";
import { normal, positive } from "../../support/values.ts";
import {
  type Convolution,
  convolution,
  kernelOf,
  nanOfKernel,
  nanOverBorder,
  orSpread,
  over,
  spread,
  tileOf,
} from "./convolution.ts";
import { kernel, type Operand, opCase, opCases, operand } from "./types.ts";

const { x, w, y, attrs } = convolution([2, 3, 4], [5, 6], [3, 3], [1, 1], [1, 1]);

const forward = (affine: boolean, residual: boolean, relu: boolean) => ({
  ...unfinished,
  affine,
  residual,
  relu,
});

/** So small that sums of many products stay where the sigmoid is steep, and their rounding below what it must agree in. */
const small: typeof normal = (shape, name) => normal(shape, name).map((value) => value / 16);

const eps = 1e-3;
const normOperands = (channels: number) => [
  operand([2, channels], positive),
  operand([channels]),
  operand([channels]),
];

/** Parts of a fused input gradient that come together in models. */
const parts: readonly Omit<InputGradFusedAttrs, "input" | "stride" | "padding">[] = [
  { residual: true, mask: "none", sums: false, images: "none", eps },
  { residual: false, mask: "value", sums: false, images: "none", eps },
  { residual: true, mask: "value", sums: false, images: "none", eps },
  { residual: false, mask: "norm", sums: false, images: "none", eps },
  { residual: true, mask: "norm", sums: false, images: "none", eps },
];

function inputGradOperands(at: Convolution, { residual, mask }: (typeof parts)[number]): Operand[] {
  const [, channels] = at.x;
  return [
    operand(at.y),
    kernel(at.w),
    ...(residual ? [operand(at.x)] : []),
    ...(mask === "value" ? [operand(at.x)] : []),
    ...(mask === "norm" ? [operand(at.x), ...normOperands(channels)] : []),
  ];
}

/** Ops whose records compute others along, and those: along.test.ts has their cases. */
export const alongOps = [
  statisticsAlongOp,
  gradSumsAlongOp,
  meanAlongOp,
  extremeAlongOp,
  imageSumsAlongOp,
  pixelSumsAlongOp,
  convPairOp,
  convPairAlongOp,
  inputGradPairOp,
  inputGradPairAlongOp,
  weightGradPairOp,
  weightGradOfNormPairOp,
  weightGradOfAffineOp,
  inputSumsAlongOp,
] as unknown as readonly Op[];

/** Ops that compile passes make. */
export const fused = [
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
    op: convFusedOp,
    cases: [
      forward(true, false, false),
      forward(true, false, true),
      forward(true, true, false),
      forward(true, true, true),
      forward(false, true, true),
      { ...unfinished, bias: true },
      { ...unfinished, bias: true, relu: true },
      { ...unfinished, bias: true, sigmoid: true },
      { ...unfinished, sigmoid: true },
    ].flatMap((also) =>
      over((at, large) => {
        const affine = also.affine ? [operand([2, at.y[1]])] : [];
        const bias = also.bias ? [operand([at.y[1], 1, 1])] : [];
        const residual = also.residual ? [operand(at.y)] : [];
        return opCase(
          [
            also.sigmoid ? operand(at.x, small) : operand(at.x),
            kernel(at.w),
            ...affine,
            ...bias,
            ...residual,
          ],
          { ...at.attrs, ...also },
          [],
          large,
        );
      }),
    ),
    refusals: [
      {
        shapes: [x, [4, 3], [2, 4]],
        attrs: { ...attrs, ...forward(true, false, false) },
        says: ["weight must have 4 dimensions"],
      },
      {
        shapes: [x, w, [2, 3]],
        attrs: { ...attrs, ...forward(true, false, false) },
        says: ["affine expects [2,4], has [2,3]"],
      },
      {
        shapes: [x, w, [4]],
        attrs: { ...attrs, ...unfinished, bias: true },
        says: ["bias expects [4,1,1], has [4]"],
      },
      {
        shapes: [x, w, [2, 4], [2, 4, 5, 5]],
        attrs: { ...attrs, ...forward(true, true, true) },
        says: [`residual expects [${y}], has [2,4,5,5]`],
      },
    ],
    infinities: false,
    mayBeNaN: (at, _, values) =>
      orSpread(nanOverBorder(convFusedOp, at, values), convFusedOp, at, at.operands[1].shape, values, tileOf),
  }),
  opCases({
    op: inputGradFusedOp,
    cases: parts.flatMap((also) =>
      over((at, large) => {
        const operands = inputGradOperands(at, also);
        return opCase(operands, { ...at.attrs, ...also, input: at.x }, [], large);
      }).filter(({ operands, attrs }) => !leavesGaps(operands[1].shape, attrs)),
    ),
    refusals: [
      {
        shapes: [y, w, [2, 3, 5, 5]],
        attrs: { ...attrs, ...parts[0], input: x },
        says: ["residual expects [2,3,5,6], has [2,3,5,5]"],
      },
      {
        shapes: [y, w, x, [2, 4], [3], [3]],
        attrs: { ...attrs, ...parts[3], input: x },
        says: ["statistics expects [2,3], has [2,4]"],
      },
      {
        shapes: [[2, 4, 3, 3], [4, 3, 1, 1], x],
        attrs: { stride: [2, 2], padding: [0, 0], ...parts[0], input: x },
        says: ["stride 2×2 is longer than the kernel"],
      },
    ],
    infinities: false,
    mayBeNaN: (at, operand, values) =>
      orSpread(nanOfKernel(at, operand, values), inputGradFusedOp, at, at.operands[1].shape, values, tileOf),
  }),
  opCases({
    op: weightGradOfNormOp,
    cases: [false, true].flatMap((relu) =>
      over((at, large) =>
        opCase(
          [operand(at.x), ...normOperands(at.x[1]), operand(at.y)],
          { ...at.attrs, weight: at.w, eps, relu },
          [],
          large,
        ),
      ),
    ),
    refusals: [
      {
        shapes: [x, [2, 3], [3], [4], y],
        attrs: { ...attrs, weight: w, eps, relu: true },
        says: ["beta expects [3], has [4]"],
      },
      {
        shapes: [x, [2, 3], [3], [3], [2, 5, 5, 6]],
        attrs: { ...attrs, weight: w, eps, relu: true },
        says: ["dy expects [2,4,5,6], has [2,5,5,6]"],
      },
    ],
    infinities: false,
    // a kernel that meets no pixel of the image at some tap has no products there, whatever x is
    mayBeNaN: (at, operand, values) => {
      const { weight } = at.attrs;
      const isSpoilt = (i: number) => operand > 0 && operand < 4 && Number.isNaN(values[operand][i]);
      const channels = [...values[operand].keys()].filter(isSpoilt).map((i) => i % weight[1]);
      const known = (index: number) => channels.includes(positionOf(index, weight)[1]);
      // zeros of the border may be multiplied too
      const spoilt = spread(weightGradOfNormOp, at, values, kernelOf);
      return (index) => known(index) || spoilt(index);
    },
  }),
];
