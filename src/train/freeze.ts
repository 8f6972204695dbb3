import type { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";

/** Layers that go by one name together. */
const GROUPS: Readonly<Record<string, readonly string[]>> = { stem: ["conv1", "bn1"] };

const pathsOf = (name: string): readonly string[] => (Object.hasOwn(GROUPS, name) ? GROUPS[name] : [name]);

/** Tells whether a path lies in one of the layers; `stem` is what comes before the first stage. */
export function isFrozen(layers: readonly string[]): (path: string) => boolean {
  const paths = layers.flatMap(pathsOf);
  return (path) => paths.some((layer) => path === layer || path.startsWith(`${layer}.`));
}

/** @throws UserError when a layer holds no parameter, with the layers there are. */
export function expectLayers(layers: readonly string[], variables: Variables): void {
  const names = variables.tensors("parameter").map(({ label }) => label);
  const strange = layers.find((layer) => !names.some(isFrozen([layer])));
  if (strange === undefined) return;
  const known = [...new Set([...Object.keys(GROUPS), ...names.map((name) => name.split(".")[0])])];
  throw new UserError(
    `train.freeze: no layer ${JSON.stringify(strange)}: there are ${known.join(", ")}, and layers inside them such as layer1.0`,
  );
}
