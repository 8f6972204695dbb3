import { schedule } from "../../src/compile/schedule.ts";
import { nodeOf } from "../../src/ops/op.ts";
import { sizeOf, type Tensor } from "../../src/tensor/tensor.ts";

/** Values of inputs and variables, in logical order. */
export type Given = ReadonlyMap<Tensor, ArrayLike<number>>;

/**
 * Values of `outputs` from tensors given and inputs fed, float64 from end to end: no rounding to float32 between, before or after, as finite
 * differences need it. Effects overwrite a copy of what is given, found under their variable in `written`.
 */
export function evaluate(
  outputs: readonly Tensor[],
  given: Given,
  effects: readonly Tensor[] = [],
  feeds: Readonly<Record<string, ArrayLike<number>>> = {},
): { outputs: Float64Array[]; written: Map<Tensor, Float64Array> } {
  const values = new Map<Tensor, Float64Array>();
  const written = new Map<Tensor, Float64Array>();
  const named = Object.fromEntries(outputs.map((x, k) => [`${k}`, x]));
  for (const tensor of schedule({ outputs: named, effects })) {
    const node = nodeOf(tensor);
    if (!node) {
      const fed = tensor.source.kind === "input" ? feeds[tensor.source.name] : undefined;
      const start = given.get(tensor) ?? fed;
      if (!start) throw new Error(`evaluate: ${tensor.label} is not given`);
      values.set(tensor, Float64Array.from(start));
      continue;
    }
    const output = new Float64Array(sizeOf(tensor.shape));
    node.op.reference({
      inputs: node.inputs.map((x) => values.get(x)!),
      shapes: node.inputs.map((x) => x.shape),
      attrs: node.attrs,
      output,
      outputShape: tensor.shape,
    });
    values.set(tensor, output);
    for (const k of node.op.writes ?? []) written.set(node.inputs[k], values.get(node.inputs[k])!);
  }
  return { outputs: outputs.map((x) => values.get(x)!), written };
}
