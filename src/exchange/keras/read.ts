import type { z } from "zod";
import type { Normalization } from "../../data/dataset.ts";
import { type Hdf5Group, openHdf5 } from "../../formats/hdf5.ts";
import { isLayerGraph } from "../../models/architecture.ts";
import type { LayerGraph } from "../../models/layer-graph.ts";
import { ShapeError, UserError } from "../../tensor/errors.ts";
import { sizeOf, type Variable } from "../../tensor/tensor.ts";
import { type Trained, trainedFactsSchema, variablesOf } from "../../train/trained.ts";
import type { Weights } from "../../train/weights.ts";
import type { Given } from "../format.ts";
import { parseModel } from "./config.ts";
import { graphOf } from "./graph.ts";
import { share, shareWeights, storedGroups } from "./stored.ts";
import { layersOf } from "./trace.ts";
import { collect, holdersOf } from "./weights.ts";

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
  const own = ownFacts(root);
  const { model, image, holders } = graphOf(parsed, path, given.image ?? own?.image);
  if (given.image?.some((length, axis) => length !== image[axis])) {
    throw new UserError(
      `${path}: takes images of ${image.join("×")} (height × width), ${given.image.join("×")} is given`,
    );
  }
  const group = root.group("model_weights");
  if (!group) throw new UserError(`${path}: has no group model_weights`);
  const { pairs, further } = share(
    storedGroups(group, path),
    holdersOf(model, image).map((holder) => [holder, holders.get(holder.layer.name)!]),
  );
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
  const { data, origin, variant = parsed.name, seed } = own ?? {};
  return {
    ...original(asLayers ? undefined : own?.architecture, image, { model, weights }),
    classes: classes ?? Array.from({ length: model.classes }, (_, k) => `class ${k}`),
    normalization: normalization ?? AS_THEY_ARE,
    image,
    ...(data && { data }),
    ...(origin && { origin }),
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
  const { image } = into;
  const target = { model, image, inKerasOrder: isLayerGraph(into.model), holders: holdersOf(model, image) };
  const { pairs, further } = shareWeights(root, target, path);
  return { ...into, weights: back(collect(path, pairs, further)) };
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

/** Our own ResNet again, where it takes such images and the layers' weights are all of its own; else the layers. */
function original(
  model: Trained["model"] | undefined,
  image: readonly [number, number],
  read: { readonly model: LayerGraph; readonly weights: Weights },
): Pick<Trained, "model" | "weights"> {
  if (!model || isLayerGraph(model) || model.classes !== read.model.classes) return read;
  const variables = buildable({ model, image }) ?? [];
  const weights = new Map(
    variables.flatMap(({ name, shape }): [string, Float32Array][] => {
      const values = read.weights.get(name);
      return values?.length === sizeOf(shape) ? [[name, values]] : [];
    }),
  );
  return weights.size === variables.length && weights.size === read.weights.size ? { model, weights } : read;
}

function buildable(trained: Pick<Trained, "model" | "image">): Variable[] | undefined {
  try {
    return variablesOf(trained);
  } catch (error) {
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}
