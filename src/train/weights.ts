import type { Store } from "../engine/engine.ts";
import { floatsOf, type NewTensor, type StoredTensor } from "../formats/safetensors.ts";
import { UserError } from "../tensor/errors.ts";
import { sameShape, showShape, type Variable } from "../tensor/tensor.ts";

export type Weights = ReadonlyMap<string, Float32Array>;

const FLOATS = ["F64", "F32", "F16", "BF16"];
const SHOWN = 10;

/**
 * Values of every variable, from the tensors of a file. PyTorch's batch counters are left aside.
 * @throws UserError listing what is missing, unexpected or of another shape.
 */
export function fitWeights(
  variables: readonly Variable[],
  tensors: ReadonlyMap<string, StoredTensor>,
  where: string,
): Weights {
  const names = new Set(variables.map(({ name }) => name));
  const problems = variables.flatMap(({ name, shape }) => {
    const tensor = tensors.get(name);
    if (!tensor) return [`${name} is missing`];
    if (!sameShape(tensor.shape, shape)) {
      return [`${name} has shape ${showShape(tensor.shape)}, expected ${showShape(shape)}`];
    }
    return FLOATS.includes(tensor.dtype) ? [] : [`${name} holds ${tensor.dtype}, expected floats`];
  });
  for (const name of tensors.keys()) {
    if (!names.has(name) && !name.endsWith(".num_batches_tracked")) problems.push(`${name} is unexpected`);
  }
  if (problems.length > 0) {
    const more = problems.length > SHOWN ? `; and ${problems.length - SHOWN} more` : "";
    throw new UserError(
      `${where}: its tensors do not fit the architecture: ${problems.slice(0, SHOWN).join("; ")}${more}`,
    );
  }
  return new Map(variables.map(({ name }) => [name, floatsOf(tensors.get(name)!)]));
}

/** Tensors of a store's variables to write, read one by one while they are written. */
export function tensorsOf(store: Store, variables: Iterable<Variable>): Map<string, NewTensor> {
  const tensors = new Map<string, NewTensor>();
  for (const { name, shape } of variables) {
    tensors.set(name, {
      shape,
      get values() {
        return store.read(name);
      },
    });
  }
  return tensors;
}

export function writeWeights(store: Store, weights: Weights): void {
  for (const [name, values] of weights) store.write(name, values);
}
