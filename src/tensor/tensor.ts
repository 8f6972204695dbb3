import type { Op } from "../ops/op.ts";

export type Shape = readonly number[];

/**
 * What the axes of a tensor are, so that an engine can lay them out: `activation` [N,C,H,W] and `kernel`
 * [O,I,KH,KW] or [O,I]. People always see these orders, whatever an engine keeps inside.
 */
export type Layout = "activation" | "kernel";

/** A value kept between runs of a program: a parameter, a running statistic, an optimiser's slot. */
export interface Variable {
  readonly name: string;
  readonly shape: Shape;
  readonly layout: Layout;
  readonly kind: "parameter" | "statistic" | "slot";
  /** Fills the initial values, in logical order. */
  readonly initialize: (values: Float32Array) => void;
}

export type Source =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "variable"; readonly variable: Variable }
  | { readonly kind: "op"; readonly op: Op; readonly inputs: readonly Tensor[]; readonly attrs: unknown };

/** A symbolic float32 tensor: its shape and where it comes from. Class indices are float32 too, exact to 2²⁴. */
export interface Tensor {
  readonly shape: Shape;
  readonly layout: Layout;
  readonly source: Source;
  /** Scope of the layer that made it, such as `layer2.0.conv1`. */
  label: string;
}

/** A tensor fed at every run under this name. */
export function input(name: string, shape: Shape): Tensor {
  return { shape, layout: "activation", source: { kind: "input", name }, label: name };
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

export function showShape(shape: Shape): string {
  return `[${shape.join(",")}]`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** @throws Error when the tensor is something else. */
export function variableOf(tensor: Tensor): Variable {
  if (tensor.source.kind !== "variable") throw new Error(`${tensor.label || "tensor"} is not a variable`);
  return tensor.source.variable;
}
