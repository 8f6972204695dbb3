import { ShapeError } from "../tensor/errors.ts";
import { physicalOrder } from "../tensor/layout.ts";
import { type Layout, type Shape, showShape, type Tensor } from "../tensor/tensor.ts";

/** One application of an op, as its rules see it. */
export interface Node<A = unknown> {
  readonly inputs: readonly Tensor[];
  readonly attrs: A;
  readonly output: Tensor;
}

/** Values of one application for the float64 oracle, all in logical order. */
export interface ReferenceCall<A = unknown> {
  readonly inputs: readonly Float64Array[];
  readonly shapes: readonly Shape[];
  readonly attrs: A;
  readonly output: Float64Array;
  readonly outputShape: Shape;
}

/** The kernel of the native engine that computes an op, and the numbers it needs beside its operands. */
export interface KernelCall {
  readonly kernel: string;
  readonly params: readonly number[];
}

/** Everything that is known about an op, in one place. */
export interface Op<A = unknown> {
  readonly name: string;
  /** Shape of the output; throws ShapeError when the inputs do not fit. */
  shape(inputs: readonly Shape[], attrs: A): Shape;
  /** Gradient of each input given that of the output, as new graph nodes; `null` for an input without one. */
  vjp: ((dy: Tensor, node: Node<A>) => readonly (Tensor | null)[]) | null;
  /** The op in plain float64 loops: the oracle of every other implementation. */
  reference(call: ReferenceCall<A>): void;
  /**
   * How the native engine computes it: a kernel; `alias` when the output is the first input's memory, from an offset
   * in elements; `along` when the record of that input, which reads the other inputs too, computes it beside its own;
   * `place` orders several such results.
   */
  native(
    node: Node<A>,
  ): KernelCall | { readonly alias: number } | { readonly along: number; readonly place?: number };
  /** Layout of the output; that of the first input when absent. */
  readonly layout?: Layout;
  /** Inputs that are overwritten: such an op has no output of its own (shape [0]) and closes a step. */
  readonly writes?: readonly number[];
  /** The output may take the memory of one of these inputs, of its own shape, when nothing else needs it. */
  readonly inPlace?: readonly number[] | ((node: Node<A>) => readonly number[]);
  /** Names of the ops that were fused into this one, for people who read programs. */
  parts?(node: Node<A>): readonly string[];
  /** Multiply-adds of one application, for the figures people compare. */
  multiplyAdds?(node: Node<A>): number;
}

export function defineOp<A>(op: Op<A>): Op<A> {
  return op;
}

/** Applies an op to symbolic inputs. */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  const shape = op.shape(
    inputs.map((x) => x.shape),
    attrs,
  );
  const layout = op.layout ?? inputs[0].layout;
  return { shape, layout, source: { kind: "op", op: op as Op, inputs, attrs }, label: "" };
}

/** The application that made a tensor, or undefined for inputs and variables. */
export function nodeOf(tensor: Tensor): (Node & { readonly op: Op }) | undefined {
  const { source } = tensor;
  if (source.kind !== "op") return undefined;
  return { op: source.op, inputs: source.inputs, attrs: source.attrs, output: tensor };
}

/** Whether the output is part of the first input's memory. */
export const isView = (node: Node & { readonly op: Op }): boolean =>
  !node.op.writes && "alias" in node.op.native(node);

export function expectRank(op: string, name: string, shape: Shape, rank: number): void {
  if (shape.length !== rank) {
    throw new ShapeError(op, `${name} must have ${rank} dimensions, has ${showShape(shape)}`);
  }
}

export function expectSame(op: string, name: string, shape: Shape, expected: Shape): void {
  if (shape.length !== expected.length || shape.some((length, axis) => length !== expected[axis])) {
    throw new ShapeError(op, `${name} expects ${showShape(expected)}, has ${showShape(shape)}`);
  }
}

/** Kernels of the native engine walk their operands in one order of axes: a mismatch must not pass in silence. */
export function expectLayout(op: string, name: string, x: Tensor, layout: Layout): void {
  const rank = x.shape.length;
  if (physicalOrder(x.layout, rank).join() !== physicalOrder(layout, rank).join()) {
    throw new ShapeError(
      op,
      `${name} ${showShape(x.shape)} must be laid out as ${layout}, is as ${x.layout}`,
    );
  }
}
