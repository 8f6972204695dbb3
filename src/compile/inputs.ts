import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import type { Values } from "./graph.ts";

/** Inputs among the tensors of a graph, by name. */
export function inputsOf(order: readonly Tensor[]): Map<string, Tensor> {
  const inputs = new Map<string, Tensor>();
  for (const tensor of order) {
    if (tensor.source.kind !== "input") continue;
    const known = inputs.get(tensor.source.name);
    if (known && known !== tensor) throw new Error(`two inputs are called ${tensor.source.name}`);
    inputs.set(tensor.source.name, tensor);
  }
  return inputs;
}

export const shapesOf = (inputs: ReadonlyMap<string, Tensor>): Map<string, Shape> =>
  new Map([...inputs].map(([name, { shape }]) => [name, shape]));

/** The fed values of an input. @throws ShapeError when they are missing or of another size. */
export function fed(feeds: Values, name: string, shape: Shape): Float32Array {
  const values = feeds[name];
  if (!values) throw new ShapeError("run", `is not fed; the program reads ${showShape(shape)}`, name);
  expectSize(name, values, shape);
  return values;
}

export function expectSize(name: string, values: Float32Array, shape: Shape): void {
  if (values.length !== sizeOf(shape)) {
    throw new ShapeError(
      "write",
      `expects ${sizeOf(shape)} values ${showShape(shape)}, got ${values.length}`,
      name,
    );
  }
}
