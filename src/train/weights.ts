import type { Store } from "../engine/engine.ts";
import { floatsOf, type NewTensor } from "../formats/safetensors.ts";
import type { SafetensorsFile } from "../formats/sealed.ts";
import { UserError } from "../tensor/errors.ts";
import { type Shape, sameShape, showShape, type Variable } from "../tensor/tensor.ts";

export type Weights = ReadonlyMap<string, Float32Array>;

/** Whether PyTorch counts batches in it, which nothing here depends on. */
export const isCounter = (name: string) => name.endsWith(".num_batches_tracked");

/** Whether values of this kind become float32. */
export const isFloat = (dtype: string) => ["F64", "F32", "F16", "BF16"].includes(dtype);

/**
 * Values of every variable, from a file's tensors. PyTorch's batch counters are left aside.
 * @throws UserError listing everything that is missing, unexpected or of another shape.
 */
export async function readWeights(file: SafetensorsFile, variables: readonly Variable[]): Promise<Weights> {
  expectFitting(variables, file.header.entries, file.path);
  const weights = new Map<string, Float32Array>();
  for (const { name } of variables) weights.set(name, floatsOf(await file.read(name)));
  return weights;
}

/** What a file says of a tensor. */
export interface Entry {
  /** As safetensors calls it. */
  readonly dtype: string;
  readonly shape: Shape;
}

/** @throws UserError listing every tensor that is missing, unexpected, of another shape or no floats. */
export function expectFitting(
  variables: readonly Variable[],
  entries: ReadonlyMap<string, Entry>,
  where: string,
): void {
  const names = new Set(variables.map(({ name }) => name));
  const problems = variables.flatMap(({ name, shape }) => {
    const entry = entries.get(name);
    if (!entry) return [`${name} is missing`];
    if (!sameShape(entry.shape, shape)) {
      return [`${name} has shape ${showShape(entry.shape)}, expected ${showShape(shape)}`];
    }
    return isFloat(entry.dtype) ? [] : [`${name} holds ${entry.dtype}, expected floats`];
  });
  for (const name of entries.keys()) {
    if (!names.has(name) && !isCounter(name)) problems.push(`${name} is unexpected`);
  }
  if (problems.length > 0) {
    throw new UserError(`${where}: its tensors do not fit the architecture: ${problems.join("; ")}`);
  }
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
