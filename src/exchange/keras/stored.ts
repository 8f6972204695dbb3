import { shorten } from "../../files/shorten.ts";
import type { Hdf5Dataset, Hdf5Group } from "../../formats/hdf5.ts";
import { UserError } from "../../tensor/errors.ts";
import { matchesInOrder, storedKind, type Target } from "./order.ts";
import type { Holder } from "./weights.ts";

/** Weights that a file keeps for a layer, by Keras' name or, in Keras 3's own layout, by their number. */
export interface StoredLayer {
  /** For errors. */
  readonly name: string;
  readonly weights: ReadonlyMap<string, Hdf5Dataset>;
  /** Whether the file numbers its layers only, as Keras 3 did before 3.4 and tf-keras does in `.weights.h5`. */
  readonly unnamed?: boolean;
  /** In Keras 3's layout: the model that has it. */
  readonly within?: string;
}

/** A holder and the names of the models around its layer and of the layer itself. */
export type Placed = readonly [Holder, readonly string[]];

/** What is stored for each holder, and what is nobody's. */
export interface Shares {
  readonly pairs: readonly (readonly [Holder, StoredLayer | undefined])[];
  readonly further: readonly string[];
}

/**
 * Groups with weights in the layout of tf.keras 2, which Keras 3 writes into .h5 too: `layer_names`, and `weight_names`
 * of each. A layer has a group of its own; layers of a model inside the model share that model's. Weights are known by
 * their paths, without TensorFlow's `:0`.
 */
export function storedGroups(group: Hdf5Group, where: string): StoredLayer[] {
  const names = group.texts("layer_names");
  if (!names) throw new UserError(`${where}: has no layer_names, as weights written by Keras have`);
  if (new Set(names).size < names.length) throw new UserError(`${where}: layer_names has a name twice`);
  return names.flatMap((name): StoredLayer[] => {
    const own = group.group(name);
    const paths = own?.texts("weight_names") ?? [];
    if (!own) throw new UserError(`${where}: layer_names has ${shorten(name)}, but there is no such group`);
    if (paths.length === 0) return [];
    const weights = new Map<string, Hdf5Dataset>();
    for (const path of paths) {
      const dataset = own.dataset(path);
      if (!dataset)
        throw new UserError(
          `${where}: weight_names of ${shorten(name)} has ${shorten(path)}, but there is no such dataset`,
        );
      weights.set(path.replace(/:\d+$/, ""), dataset);
    }
    return [{ name, weights }];
  });
}

/**
 * Gives each holder what its group keeps for it: a layer's group everything, the group of a model inside the model the
 * weights whose path ends most like the holder's. A path that ends like two of them is nobody's.
 */
export function share(groups: readonly StoredLayer[], holders: readonly Placed[]): Shares {
  const weightsOf = new Map(holders.map(([holder]) => [holder, new Map<string, Hdf5Dataset>()]));
  const further: string[] = [];
  for (const group of groups) {
    const members = holders.filter(([, [first]]) => first === group.name);
    if (members.length === 0) further.push(group.name);
    else {
      for (const [path, dataset] of group.weights) {
        const { around, last } = partsOf(path);
        const owner = mostAlike(around, members);
        const weights = owner && weightsOf.get(owner);
        if (!weights || weights.has(last)) further.push(`${group.name}/${path}`);
        else weights.set(last, dataset);
      }
    }
  }
  const pairs = holders.map(([holder, path]) => {
    const weights = weightsOf.get(holder)!;
    return [holder, weights.size === 0 ? undefined : { name: path.join("/"), weights }] as const;
  });
  return { pairs, further };
}

function partsOf(path: string): { around: string[]; last: string } {
  const around = path.split("/");
  return { last: around.pop()!, around };
}

function mostAlike(around: readonly string[], members: readonly Placed[]): Holder | undefined {
  const [[only, path]] = members;
  if (members.length === 1 && path.length === 1) return only;
  const alike = members.map(([, names]) => commonEnd(around, names.join("/").split("/")));
  const most = Math.max(...alike);
  return most === 0 || alike.indexOf(most) !== alike.lastIndexOf(most)
    ? undefined
    : members[alike.indexOf(most)][0];
}

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let common = 0;
  while (common < Math.min(a.length, b.length) && a.at(-1 - common) === b.at(-1 - common)) common++;
  return common;
}

/** How deep models may lie in each other. */
export const MOST_AROUND = 4;

/** Names of classes that Keras 3 numbers its layers by. */
const AUTOMATIC = /^(.*?)(?:_(\d+))?$/;

/** Layers of groups, in their order; those of a model inside the model under the names of their paths. */
function layersIn(groups: readonly StoredLayer[]): StoredLayer[] {
  return groups.flatMap(({ name, weights }) => {
    const layers = new Map<string, Map<string, Hdf5Dataset>>();
    for (const [path, dataset] of weights) {
      const { around, last } = partsOf(path);
      const layer = around.join("/");
      layers.set(layer, (layers.get(layer) ?? new Map<string, Hdf5Dataset>()).set(last, dataset));
    }
    return [...layers].map(([layer, own]) => ({
      name: layers.size === 1 ? name : `${name}/${layer}`,
      weights: own,
    }));
  });
}

/**
 * What a file of weights alone keeps for each holder: by the names of layers where the file has them all, else in their
 * order. @throws UserError when it has more or fewer layers than the model, or listing those that do not fit.
 */
export function shareWeights(root: Hdf5Group, target: Target, where: string): Shares {
  const { holders } = target;
  const group = root.group("model_weights") ?? root;
  const legacy = group.texts("layer_names") !== undefined;
  const groups = legacy ? storedGroups(group, where) : keras3Layers(root, where);
  const named = share(
    groups.filter(({ unnamed }) => !unnamed),
    holders.map((holder) => [holder, legacy ? pathIn(groups, holder) : [holder.layer.name]]),
  );
  const missing = named.pairs.flatMap(([{ layer }, stored]) => (stored ? [] : [layer.name]));
  if (missing.length === 0) {
    return {
      ...named,
      further: [...named.further, ...groups.filter((one) => one.unnamed).map(({ name }) => name)],
    };
  }
  const layers = legacy ? layersIn(groups) : groups;
  const refuse = (problem: string) =>
    new UserError(`${where}: its tensors do not fit the model: ${shorten(problem, 1000)}`);
  if (layers.length !== holders.length || !isOrdered(layers)) {
    throw refuse(
      `it has ${layers.length} layers with weights, the model ${holders.length}; missing are ${missing.join(", ")}`,
    );
  }
  const [{ pairs, misfits }, ...others] = matchesInOrder(target, layers);
  if (misfits.length > 0) throw refuse(`its layers have other names, and in order ${misfits.join("; ")}`);
  if (others.length > 0) {
    throw refuse("its layers have other names, and their order leaves open which is which");
  }
  return { pairs, further: [] };
}

/** Keras 3 numbers layers anew in each model, so that the order of those alike in several models is not known. */
function isOrdered(layers: readonly StoredLayer[]): boolean {
  const models = new Map<string, string | undefined>();
  return layers.every((layer) => {
    const kind = storedKind(layer);
    const known = models.has(kind) ? models.get(kind) : layer.within;
    models.set(kind, known);
    return known === layer.within;
  });
}

/** The names of models around a layer are joined to its own. */
function pathIn(groups: readonly StoredLayer[], { layer }: Holder): string[] {
  const group = groups.find(({ name }) => layer.name === name || layer.name.startsWith(`${name}.`));
  const [first, ...rest] = group ? [group.name, layer.name.slice(group.name.length + 1)] : [layer.name];
  return rest[0] ? [first, ...rest[0].split(".")] : [first];
}

/**
 * Layers in Keras 3's layout: `layers/conv2d_3/vars/0`, those of a model inside the model below it at
 * `layers/functional/layers/…`. Their own names, attributes since Keras 3.4, are joined as ours are.
 */
function keras3Layers(root: Hdf5Group, where: string): StoredLayer[] {
  const layers = root.group("layers") ?? root.group("_layer_checkpoint_dependencies");
  if (!layers)
    throw new UserError(`${where}: holds no weights of Keras': expected layer_names or a group layers`);
  return keras3LayersIn(layers, where, []);
}

function keras3LayersIn(layers: Hdf5Group, where: string, around: readonly string[]): StoredLayer[] {
  if (around.length > MOST_AROUND) throw new UserError(`${where}: models lie too deep in each other`);
  return layers.names
    .sort((a, b) => numberOf(a) - numberOf(b))
    .flatMap((name): StoredLayer[] => {
      const vars = layers.group(`${name}/vars`);
      const own = vars?.text("name");
      const path = [...around, own ?? name];
      const inside = layers.group(`${name}/layers`);
      if (inside) return keras3LayersIn(inside, where, path);
      const weights = new Map(
        (vars?.names ?? []).map((number) => {
          const dataset = vars!.dataset(number);
          if (!dataset)
            throw new UserError(`${where}: layers/${shorten(name)}/vars/${shorten(number)} is no dataset`);
          return [number, dataset] as const;
        }),
      );
      const layer = { name: path.join("."), weights, unnamed: own === undefined, within: around.join(".") };
      return weights.size === 0 ? [] : [layer];
    });
}

const numberOf = (name: string) => Number(AUTOMATIC.exec(name)?.[2] ?? 0);
