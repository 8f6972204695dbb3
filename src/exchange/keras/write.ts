import { type NewDataset, type NewGroup, writeHdf5 } from "../../formats/hdf5-write.ts";
import { optimizerSchema } from "../../train/optimizers.ts";
import { factsOf, type Trained } from "../../train/trained.ts";
import { kerasLayers, modelConfig } from "./describe.ts";
import { OURS } from "./read.ts";
import { layersOf } from "./trace.ts";
import { type KerasTraining, kerasOptimizer } from "./training.ts";
import { type Holder, holdersOf, type Slot, toKeras } from "./weights.ts";

/** The Keras whose layout is written: its files are read by all later ones. */
const LAYOUT = { keras_version: "2.15.0", backend: "tensorflow" };

export interface KerasOptions {
  /** Leaves the architecture out: what `load_weights` takes. */
  readonly weightsOnly: boolean;
  /** What Keras needs to go on training; its own defaults when absent. */
  readonly training?: KerasTraining;
}

/**
 * Writes a trained model as .h5 in the layout of tf.keras 2, which `load_model` (or `load_weights`) of tf.keras 2 and
 * of Keras 3 reads: stock layers only, images channels last, a softmax at the end.
 * @throws UserError naming what has no stock layer in Keras, or why the file cannot be written.
 */
export async function writeKeras(
  trained: Trained,
  path: string,
  { weightsOnly, training = defaults }: KerasOptions,
): Promise<void> {
  const { model, weights, nameOf } = layersOf(trained);
  const layers = kerasLayers(model, trained.image);
  const holders = new Map(holdersOf(model, trained.image).map((holder) => [holder.layer.name, holder]));
  const kept = weightsGroup(
    layers.map(({ name }) => [name, holders.get(name)] as const),
    (slot) => ({ shape: slot.kerasShape, values: toKeras(slot, weights.get(slot.name)!) }),
  );
  const root: NewGroup = weightsOnly
    ? kept
    : {
        attributes: {
          ...LAYOUT,
          model_config: JSON.stringify(modelConfig(modelName(trained), layers)),
          training_config: JSON.stringify(trainingConfig(training)),
          [OURS]: JSON.stringify(factsOf(trained)),
        },
        groups: new Map([
          ["model_weights", kept],
          ...optimizerGroup(
            training,
            layers.flatMap(({ name }) => holders.get(name) ?? []),
            nameOf,
          ),
        ]),
      };
  await writeHdf5(path, root);
}

/** Keras' names begin with a letter or digit and have no blanks. */
const modelName = ({ variant }: Trained) =>
  variant.replaceAll(/[^A-Za-z0-9_]/g, "_").replace(/^_*/, "") || "model";

/** What Keras does unless it is told otherwise. */
const defaults: KerasTraining = { optimizer: optimizerSchema.parse({ name: "adam", eps: 1e-7 }) };

function trainingConfig({ optimizer }: KerasTraining): object {
  const { class_name, config } = kerasOptimizer(optimizer);
  return {
    loss: "sparse_categorical_crossentropy",
    metrics: ["accuracy"],
    weighted_metrics: null,
    loss_weights: null,
    optimizer_config: { class_name, config },
  };
}

/**
 * The optimiser's state as tf.keras 2 reads it for a model without `is_legacy_optimizer`: its step, then one slot of
 * all trained variables after the other. Keras 3.15 takes no such state from a .h5 and wants the model
 * compiled again before it trains.
 */
function optimizerGroup(
  { optimizer, state }: KerasTraining,
  holders: readonly Holder[],
  nameOf: (variable: string) => string,
): [string, NewGroup][] {
  const { class_name: name, slots: kinds } = kerasOptimizer(optimizer);
  if (!state || kinds.length === 0) return [];
  const step: NewDataset = { shape: [], values: BigInt64Array.of(BigInt(state.step)) };
  const trained = holders.flatMap(({ layer, slots }) =>
    slots.flatMap((slot) => (slot.trained ? [{ path: `${name}/${layer.name}/${slot.keras}`, slot }] : [])),
  );
  const slots = kinds.flatMap((kind) =>
    trained.map(({ path, slot }): [string, NewDataset] => [
      `${path}/${kind}:0`,
      {
        shape: slot.kerasShape,
        values: toKeras(slot, state.slots.get(`${nameOf(slot.name)}.${kind}`)!),
      },
    ]),
  );
  const datasets = new Map([[`${name}/iter:0`, step], ...slots]);
  return [["optimizer_weights", { attributes: { weight_names: [...datasets.keys()] }, datasets }]];
}

/** All layers by name, each with its weights: first what is trained, then what is not. */
function weightsGroup(
  layers: readonly (readonly [string, Holder | undefined])[],
  values: (slot: Slot) => NewDataset,
): NewGroup {
  const groups = layers.map(([name, holder]): [string, NewGroup] => {
    const paths = (holder?.slots ?? []).map((slot) => [`${name}/${slot.keras}:0`, slot] as const);
    return [
      name,
      {
        attributes: { weight_names: paths.map(([path]) => path) },
        datasets: new Map(
          paths.map(([path, slot]) => [
            path,
            {
              shape: slot.kerasShape,
              get values() {
                return values(slot).values;
              },
            },
          ]),
        ),
      },
    ];
  });
  return {
    attributes: { ...LAYOUT, layer_names: layers.map(([name]) => name) },
    groups: new Map([
      ...groups.sort(([a], [b]) => (a < b ? -1 : 1)),
      ["top_level_model_weights", { attributes: { weight_names: [] } }],
    ]),
  };
}
