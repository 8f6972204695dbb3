import { shorten } from "../../files/shorten.ts";
import { shapeOfLayers } from "../../models/build.ts";
import { IMAGES, type Layer, type LayerGraph, stockLayersSchema } from "../../models/layer-graph.ts";
import { ShapeError, UserError } from "../../tensor/errors.ts";
import { type KerasLayer, type KerasModel, MODEL_TYPES, modelOf } from "./config.ts";
import { Settings, stock } from "./stock.ts";
import { MOST_AROUND } from "./stored.ts";

/** A result of a layer of Keras' as we have it. */
interface Value {
  /** Of our layer that computes it, without a softmax after it. */
  readonly name: string;
  readonly rank: number;
  readonly softmax: boolean;
}

export interface KerasGraph {
  readonly model: LayerGraph;
  /** [height, width]. */
  readonly image: readonly [number, number];
  /** For our layers with parameters: the names of Keras' layer that holds them, models around it first. */
  readonly holders: ReadonlyMap<string, readonly string[]>;
}

/**
 * Keras' functional graph as ours.
 * @param given [height, width], where the model takes any.
 * @throws UserError naming the layer that is not read, with its position, or what is missing.
 */
export function graphOf(model: KerasModel, where: string, given?: readonly [number, number]): KerasGraph {
  const reader = new GraphReader(where);
  const [output] = reader.read(model, undefined, []);
  const { name, rank, softmax } = output;
  const { layers, holders } = reader;
  const final = layers.find((layer) => layer.name === name);
  if (!final) throw new UserError(`${where}: the model has no layers between input and output`);
  if (!softmax && final.kind === "activation" && final.function !== "linear") {
    throw new UserError(
      `${where}: the model ends in ${final.function}: expected a softmax over the classes, or none`,
    );
  }
  if (rank !== 1) {
    throw new UserError(`${where}: the model's last layer ${shorten(name)} does not give one number a class`);
  }
  const parsed = stockLayersSchema.safeParse({ layers, output: name });
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw new UserError(`${where}: ${shorten(`${path.join(".")}: ${message}`)}`);
  }
  const image = imageOf(where, reader.image, given);
  try {
    const [, classes] = shapeOfLayers(parsed.data, image);
    return { model: { ...parsed.data, classes }, image, holders };
  } catch (error) {
    // layers that do not fit together are a mistake of the file
    throw error instanceof ShapeError ? new UserError(`${where}: ${error.message}`) : error;
  }
}

function imageOf(
  where: string,
  [height, width]: readonly (number | null)[],
  given: readonly [number, number] | undefined,
): readonly [number, number] {
  const image = [height ?? given?.[0], width ?? given?.[1]];
  if (image[0] === undefined || image[1] === undefined) {
    throw new UserError(`${where}: takes images of any size: say which, height × width`);
  }
  return [image[0], image[1]];
}

class GraphReader {
  readonly layers: Layer[] = [];
  readonly holders = new Map<string, readonly string[]>();
  image: readonly (number | null)[] = [null, null];
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  /** @param fed what is given to a model inside another. @param around names of the models around this one. */
  read(model: KerasModel, fed: readonly Value[] | undefined, around: readonly string[]): Value[] {
    const where = [this.#where, ...around.map((name) => shorten(name))].join(": ");
    if (model.inputs.length !== 1 || model.outputs.length !== 1) {
      throw new UserError(
        `${where}: the model has ${model.inputs.length} inputs and ${model.outputs.length} outputs, expected one of each`,
      );
    }
    const byName = new Map(model.layers.map((layer) => [layer.name, layer]));
    if (byName.size < model.layers.length) throw new UserError(`${where}: two layers have the same name`);
    const results = new Map<KerasLayer, Value[]>();
    // a shared layer's later calls may read what comes after it in the list
    for (let waiting = [...model.layers.entries()], before = 0; waiting.length !== before; ) {
      before = waiting.length;
      waiting = waiting.filter(([position, layer]) => {
        const done = results.get(layer) ?? [];
        results.set(layer, done);
        const label = `${where}: layer ${position + 1} ${shorten(layer.name)}`;
        if (layer.type === "InputLayer") {
          done.push(fed ? fed[0] : this.#input(layer, label));
          return false;
        }
        while (done.length < layer.calls.length) {
          const inputs = layer.calls[done.length].map((source) => {
            const from = byName.get(source.layer);
            if (!from) throw new UserError(`${label} reads ${shorten(source.layer)}, which is no layer`);
            return results.get(from)?.[callOf(from, source.call)];
          });
          if (inputs.length === 0) throw new UserError(`${label} reads nothing`);
          if (inputs.some((value) => value === undefined)) return true;
          done.push(this.#call(layer, done.length, inputs as Value[], around, label));
        }
        return false;
      });
      if (waiting.length === before && before > 0) {
        const [[position, { name }]] = waiting;
        throw new UserError(`${where}: layer ${position + 1} ${shorten(name)} reads what is never computed`);
      }
    }
    return model.outputs.map(({ layer, call }) => {
      const from = byName.get(layer);
      const value = from && results.get(from)?.[callOf(from, call)];
      if (!value) throw new UserError(`${where}: the output ${shorten(layer)} is no layer's`);
      return value;
    });
  }

  #input({ config }: KerasLayer, label: string): Value {
    const shape = config["batch_shape"] ?? config["batch_input_shape"];
    const [, height, width, channels] = Array.isArray(shape) ? shape : [];
    const isLength = (x: unknown) => x === null || (Number.isInteger(x) && (x as number) > 0);
    if (
      !Array.isArray(shape) ||
      shape.length !== 4 ||
      channels !== 3 ||
      !isLength(height) ||
      !isLength(width)
    ) {
      throw new UserError(
        `${label}: expects ${shorten(JSON.stringify(shape) ?? "no shape")}, not images [null,height,width,3]`,
      );
    }
    this.image = [height, width];
    return { name: IMAGES, rank: 3, softmax: false };
  }

  #call(
    layer: KerasLayer,
    call: number,
    inputs: readonly Value[],
    around: readonly string[],
    label: string,
  ): Value {
    if (inputs.some(({ softmax }) => softmax)) {
      throw new UserError(`${label}: reads a softmax inside the model, which is only read at its end`);
    }
    const path = [...around, layer.name];
    if (MODEL_TYPES.includes(layer.type)) {
      if (call > 0)
        throw new UserError(`${label}: a model inside the model is called twice, which is not read`);
      if (around.length > MOST_AROUND) throw new UserError(`${label}: models lie too deep in each other`);
      return this.read(modelOf(layer.type, layer.config, label), inputs, path)[0];
    }
    const convert = stock.get(layer.type);
    if (!convert) {
      const known = [...stock.keys()].join(", ");
      throw new UserError(`${label} is a ${shorten(layer.type)}, which is not read; those read are ${known}`);
    }
    const {
      layers,
      rank,
      softmax = false,
    } = convert(
      new Settings(layer, label),
      inputs.map((value) => value.rank),
    );
    const name = path.join(".");
    let from = inputs.map((value) => value.name);
    layers.forEach((unnamed, k) => {
      const base = k === 0 ? name : `${name}.${unnamed.kind}`;
      const own = call === 0 ? base : `${base}.call${call + 1}`;
      const shares = call > 0 && k === 0 && HOLD_PARAMETERS.includes(unnamed.kind);
      this.layers.push({ ...unnamed, name: own, inputs: from, ...(shares && { weightsOf: base }) } as Layer);
      if (!shares && HOLD_PARAMETERS.includes(unnamed.kind)) this.holders.set(own, path);
      from = [own];
    });
    return { name: from[0], rank, softmax };
  }
}

export const HOLD_PARAMETERS: readonly string[] = ["conv", "dense", "batchNorm"];

/** Keras counts the making of a model inside a model as its call 0. */
const callOf = ({ type }: KerasLayer, call: number) =>
  MODEL_TYPES.includes(type) ? Math.max(0, call - 1) : call;
