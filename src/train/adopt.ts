import { UserError } from "../tensor/errors.ts";
import { type Shape, sameShape, showShape, type Variable } from "../tensor/tensor.ts";
import { isCounter } from "./weights.ts";

/** Tensors of a file by name, without values where they are no floats. */
export type Pretrained = ReadonlyMap<string, { readonly shape: Shape; readonly values?: Float32Array }>;

/** What became of the tensors of a file and the variables of a model. */
export interface Adoption {
  readonly taken: readonly string[];
  /** Of the file: no variable has the name and the shape, or they are no floats. */
  readonly left: readonly string[];
  /** Of the model: drawn from the seed. */
  readonly made: readonly string[];
}

/**
 * The variables with values of the file where it has one of the same name and shape.
 * @param where the file, for errors. @throws UserError when it has no kernel among them.
 */
export function adopt(
  variables: readonly Variable[],
  pretrained: Pretrained,
  where: string,
): { readonly variables: readonly Variable[]; readonly adoption: Adoption } {
  const kept = variables.filter(({ kind }) => kind !== "slot");
  const fits = ({ name, shape }: Variable) => {
    const given = pretrained.get(name);
    return given?.values !== undefined && sameShape(given.shape, shape);
  };
  const fitting = kept.filter(fits);
  // biases fit many a model: what was learnt lies in the kernels
  if (!fitting.some(isKernel)) {
    const kernel = kept.find(isKernel) ?? kept[0];
    throw new UserError(
      `${where}: none of its ${pretrained.size} tensors is a kernel of the model, which has ${kernel.name} ${showShape(kernel.shape)} and others: is it of another model?`,
    );
  }
  const taken = new Set(fitting.map(({ name }) => name));
  return {
    variables: variables.map((variable) => {
      if (!taken.has(variable.name)) return variable;
      const { values } = pretrained.get(variable.name)!;
      return { ...variable, initialize: (into: Float32Array) => into.set(values!) };
    }),
    adoption: {
      taken: [...taken],
      left: [...pretrained.keys()].filter((name) => !taken.has(name) && !isCounter(name)),
      made: kept.filter(({ name }) => !taken.has(name)).map(({ name }) => name),
    },
  };
}

const isKernel = ({ shape }: Variable) => shape.length === 4;

/** In one line; names that differ in their numbers alone are one, with their count. */
export function describeAdoption({ taken, left, made }: Adoption): string {
  const listed = (names: readonly string[]) => (names.length === 0 ? "none" : gathered(names).join(", "));
  return `${taken.length} tensors taken; left: ${listed(left)}; made new: ${listed(made)}`;
}

function gathered(names: readonly string[]): string[] {
  const patterns = new Map<string, string[]>();
  for (const name of names) {
    const pattern = name.replaceAll(/\d+/g, "*");
    patterns.set(pattern, [...(patterns.get(pattern) ?? []), name]);
  }
  return [...patterns].map(([pattern, all]) => (all.length === 1 ? all[0] : `${pattern} (${all.length})`));
}
