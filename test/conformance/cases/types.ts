import { apply, type Op } from "../../../src/ops/op.ts";
import {
  input,
  type Layout,
  type Shape,
  showShape,
  sizeOf,
  type Tensor,
  type Variable,
} from "../../../src/tensor/tensor.ts";
import { normal, type Values } from "../../support/values.ts";

export interface Operand {
  readonly shape: Shape;
  readonly layout: Layout;
  readonly values: Values;
  /** Class indices: NaN and infinities have no meaning there. */
  readonly indices?: boolean;
}

export interface OpCase<A = unknown> {
  readonly title: string;
  readonly operands: readonly Operand[];
  readonly attrs: A;
  /** Operands whose derivative is checked by finite differences in this case. */
  readonly differentiate: readonly number[];
  /** More than a few milliseconds of the oracle: left out where values are tried one after the other. */
  readonly large?: boolean;
}

export interface Refusal<A = unknown> {
  readonly shapes: readonly Shape[];
  readonly attrs: A;
  /** What the error must say; the shapes among it. */
  readonly says: readonly string[];
}

/** What the conformance suite knows of one op. */
export interface OpCases<A = unknown> {
  readonly op: Op<A>;
  readonly cases: readonly OpCase<A>[];
  /** Malformed inputs; a sentence when there are none. */
  readonly refusals: readonly Refusal<A>[] | string;
  /** How finite differences build the output; by default the op itself. */
  readonly build?: (operands: readonly Tensor[], attrs: A) => Tensor;
  /** Whether infinities are worth trying: where padding meets 0·∞ they are not. */
  readonly infinities?: boolean;
  /** Elements that may be NaN beyond the oracle's, for a NaN in one operand: 0·NaN at a zero of the padding. */
  readonly mayBeNaN?: (
    at: OpCase<A>,
    operand: number,
    values: readonly Float32Array[],
  ) => (index: number) => boolean;
  /** Elements measured by one common magnitude. */
  readonly parts?: (shape: Shape) => readonly (readonly [from: number, to: number])[];
  readonly tolerance?: { readonly value: number; readonly reason: string };
}

/** Of the largest expected magnitude: float32 sums of a few thousand products. */
export const defaultTolerance = 2e-5;

/** Checks the types that belong together, then forgets them. */
export const opCases = <A>(cases: OpCases<A>): OpCases => cases as unknown as OpCases;

export const operand = (shape: Shape, values: Values = normal, layout: Layout = "activation"): Operand => ({
  shape,
  values,
  layout,
});

export const kernel = (shape: Shape, values: Values = normal): Operand => operand(shape, values, "kernel");

export const titleOf = (operands: readonly Operand[], attrs: unknown) =>
  `${operands.map(({ shape }) => showShape(shape)).join(" ")}${attrs ? ` ${JSON.stringify(attrs)}` : ""}`;

/** A case with the usual title. */
export const opCase = <A>(
  operands: readonly Operand[],
  attrs: A,
  differentiate: readonly number[] = [],
  large = false,
): OpCase<A> => ({ title: titleOf(operands, attrs), operands, attrs, differentiate, large });

export const valuesOf = ({ operands, title }: OpCase): Float32Array[] =>
  operands.map(({ shape, values }, k) => values(shape, `${title} ${k}`));

/** Operands as graph inputs, or as variables where the layout or the op asks for it. */
export function tensorsOf({ op }: OpCases, { operands }: OpCase, asVariables: boolean): Tensor[] {
  return operands.map(({ shape, layout }, k): Tensor => {
    const name = `operand${k}`;
    if (!asVariables && layout === "activation" && !op.writes?.includes(k)) return input(name, shape);
    const variable: Variable = { name, shape, layout, kind: "parameter", initialize: () => {} };
    return { shape, layout, source: { kind: "variable", variable }, label: name };
  });
}

/** What one application computes for the oracle: its output, or the variables it overwrites. */
export function oracleOf({ op }: OpCases, { operands, attrs }: OpCase, values: readonly Float32Array[]) {
  const shapes = operands.map(({ shape }) => shape);
  const inputs = values.map((x) => Float64Array.from(x));
  const outputShape = op.shape(shapes, attrs);
  const output = new Float64Array(sizeOf(outputShape));
  op.reference({ inputs, shapes, attrs, output, outputShape });
  return op.writes
    ? op.writes.map((k) => ({ name: `operand${k}`, values: inputs[k], shape: shapes[k] }))
    : [{ name: "output", values: output, shape: outputShape }];
}

export const applied = ({ op }: OpCases, { attrs }: OpCase, operands: readonly Tensor[]): Tensor =>
  apply(op, operands, attrs);
