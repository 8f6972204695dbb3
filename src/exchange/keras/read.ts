import type { z } from "zod";
import type { Normalization } from "../../data/dataset.ts";
import { shorten } from "../../files/shorten.ts";
import { type Hdf5Group, openHdf5 } from "../../formats/hdf5.ts";
import { isLayerGraph } from "../../models/architecture.ts";
import type { LayerGraph } from "../../models/layer-graph.ts";
import { ShapeError, UserError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { type Trained, trainedFactsSchema, variablesOf } from "../../train/trained.ts";
import type { Weights } from "../../train/weights.ts";
import type { Given } from "../format.ts";
import { parseModel } from "./config.ts";
import { graphOf } from "./graph.ts";
import { layersOf } from "./trace.ts";
import { collect, type Holder, holdersOf, type StoredLayer, storedLayers, within } from "./weights.ts";

/** The attribute in which our own files say what Keras' do not. */
export const OURS = "atento";

/** Values as they are after a division by 255. */
export const AS_THEY_ARE: Normalization = { mean: [0, 0, 0], std: [1, 1, 1] };

/**
 * A whole model that tf.keras 2, Keras 3 or this program wrote as .h5. A softmax at its end is left out: what comes
 * back gives logits. Class names and normalisation are those given, else those of our own files, else numbers and
 * values from 0 to 1 (`assumed` says so).
 * @throws UserError naming a layer that is not read, or listing the tensors that do not fit.
 */
export async function readKeras(
  path: string,
  given: Given = {},
  { asLayers = false }: { readonly asLayers?: boolean } = {},
): Promise<Trained> {
  const root = await openHdf5(path);
  const config = root.text("model_config");
  if (config === undefined) {
    throw new UserError(
      `${path}: has no model_config: it is no whole model written by Keras (are these weights only?)`,
    );
  }
  const parsed = parseModel(config, path);
  const { model, image: said, holders } = graphOf(parsed, path);
  const own = ownFacts(root);
  const image = imageOf(path, said, given.image ?? own?.image);
  const group = root.group("model_weights");
  if (!group) throw new UserError(`${path}: has no group model_weights`);
  const stored = storedLayers(group, path);
  const pairs = placed(path, () => holdersOf(model, image)).map((holder) => {
    const names = holders.get(holder.layer.name)!;
    return [holder, within(stored.get(names[0]), names)] as const;
  });
  const taken = new Set([...holders.values()].map(([first]) => first));
  const further = [...stored.keys()].filter((name) => !taken.has(name));
  const weights = collect(path, pairs, further);
  const guessed = own?.assumed ?? [];
  const classes =
    given.classes ?? (guessed.includes("classes") ? undefined : fitting(own?.classes, model.classes));
  const normalization =
    given.normalization ?? (guessed.includes("normalization") ? undefined : own?.normalization);
  if (classes && classes.length !== model.classes) {
    throw new UserError(`${path}: has ${model.classes} classes, ${classes.length} names are given`);
  }
  const assumed: ("classes" | "normalization")[] = [];
  if (!classes) assumed.push("classes");
  if (!normalization) assumed.push("normalization");
  const { data, variant = parsed.name, seed } = own ?? {};
  return {
    ...original(asLayers ? undefined : own?.architecture, image, { model, weights }),
    classes: classes ?? Array.from({ length: model.classes }, (_, k) => `class ${k}`),
    normalization: normalization ?? AS_THEY_ARE,
    image,
    ...(data && { data }),
    variant,
    ...(seed !== undefined && { seed }),
    ...(assumed.length > 0 && { assumed }),
  };
}

/**
 * A model with the weights of a file that holds only those: in tf.keras 2's layout, or in Keras 3's `.weights.h5`.
 * Layers are found by their names, or in their order where the file's names are others.
 * @throws UserError listing the tensors that do not fit.
 */
export async function readKerasWeights(path: string, into: Trained): Promise<Trained> {
  const root = await openHdf5(path);
  const { model, back } = layersOf(into);
  const holders = holdersOf(model, into.image);
  const group = root.has("model_weights") ? root.group("model_weights")! : root;
  const stored = group.texts("layer_names") ? legacyLayers(group, path) : keras3Layers(root, path);
  const byName = new Map(stored.map((layer) => [layer.name, layer]));
  const named = holders.every(({ layer }) => byName.has(layer.name));
  if (!named && stored.length !== holders.length) {
    const missing = holders.filter(({ layer }) => !byName.has(layer.name)).map(({ layer }) => layer.name);
    throw new UserError(
      `${path}: its tensors do not fit the model: it has ${stored.length} layers with weights, the model ${holders.length}; missing are ${shorten(missing.join(", "), 1000)}`,
    );
  }
  const pairs = named
    ? holders.map((holder) => [holder, byName.get(holder.layer.name)] as const)
    : inOrder(holders, stored);
  const known = new Set(holders.map(({ layer }) => layer.name));
  const further = named ? [...byName.keys()].filter((name) => !known.has(name)) : [];
  return { ...into, weights: back(collect(path, pairs, further)) };
}

const legacyLayers = (group: Hdf5Group, path: string): StoredLayer[] =>
  [...storedLayers(group, path).values()].map((layer) => within(layer, [layer.name])!);

/** Names of classes that Keras 3 numbers its layers by. */
const AUTOMATIC = /^(.*?)(?:_(\d+))?$/;

/** Keras 3's layout: `layers/conv2d_3/vars/0`; the layer's own name is an attribute since Keras 3.4. */
function keras3Layers(root: Hdf5Group, path: string): StoredLayer[] {
  const layers = root.group("layers") ?? root.group("_layer_checkpoint_dependencies");
  if (!layers)
    throw new UserError(`${path}: holds no weights of Keras': expected layer_names or a group layers`);
  return layers.names
    .sort((a, b) => numberOf(a) - numberOf(b))
    .flatMap((name): StoredLayer[] => {
      const vars = layers.group(`${name}/vars`);
      const numbers = vars?.names ?? [];
      if (!vars || numbers.length === 0) return [];
      const weights = new Map(
        numbers.map((number) => {
          const dataset = vars.dataset(number);
          if (!dataset)
            throw new UserError(`${path}: layers/${shorten(name)}/vars/${shorten(number)} is no dataset`);
          return [number, dataset] as const;
        }),
      );
      return [{ name: vars.text("name") ?? name, weights }];
    });
}

const numberOf = (name: string) => Number(AUTOMATIC.exec(name)?.[2] ?? 0);

/** Each holder with the next stored layer that has as many weights of as many axes. */
function inOrder(holders: readonly Holder[], stored: readonly StoredLayer[]) {
  const left = [...stored];
  return holders.map((holder) => {
    // a kernel in one dimension is ours in two, of height 1
    const axes = (shape: readonly number[]) => (shape.length === 4 && shape[0] === 1 ? 3 : shape.length);
    const shape = ({ slots }: Holder) => slots.map((slot) => axes(slot.kerasShape)).join();
    const own = ({ weights }: StoredLayer) =>
      [...weights.values()].map((weight) => axes(weight.shape)).join();
    const at = left.findIndex((layer) => own(layer) === shape(holder));
    return [holder, at < 0 ? undefined : left.splice(at, 1)[0]] as const;
  });
}

const ownSchema = trainedFactsSchema.partial();

/** What our own files say beside; a text of somebody else's is left alone. */
function ownFacts(root: Hdf5Group): z.output<typeof ownSchema> | undefined {
  const text = root.text(OURS);
  if (text === undefined) return undefined;
  try {
    return ownSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

const fitting = (classes: readonly string[] | undefined, count: number) =>
  classes?.length === count ? classes : undefined;

function imageOf(
  path: string,
  [height, width]: readonly (number | null)[],
  given: readonly [number, number] | undefined,
): readonly [number, number] {
  const image = [height ?? given?.[0], width ?? given?.[1]];
  if (image[0] === undefined || image[1] === undefined) {
    throw new UserError(`${path}: takes images of any size: say which, height × width`);
  }
  return [image[0], image[1]];
}

/** Layers that do not fit together are a mistake of the file. */
function placed<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw error instanceof ShapeError ? new UserError(`${path}: ${error.message}`) : error;
  }
}

/** Our own ResNet again, where the layers' weights are all of its own; else the layers. */
function original(
  model: Trained["model"] | undefined,
  image: readonly [number, number],
  read: { readonly model: LayerGraph; readonly weights: Weights },
): Pick<Trained, "model" | "weights"> {
  if (!model || isLayerGraph(model) || model.classes !== read.model.classes) return read;
  const variables = placed("", () => variablesOf({ model, image }));
  const weights = new Map(
    variables.flatMap(({ name, shape }): [string, Float32Array][] => {
      const values = read.weights.get(name);
      return values?.length === sizeOf(shape) ? [[name, values]] : [];
    }),
  );
  return weights.size === variables.length && weights.size === read.weights.size ? { model, weights } : read;
}
