import { IMAGES, type Layer, type LayerGraph, type LayerOf } from "../../models/layer-graph.ts";
import { UserError } from "../../tensor/errors.ts";
import type { KerasLayer, Source } from "./config.ts";

type Config = Readonly<Record<string, unknown>>;
type Described = readonly [type: string, config: Config];

const FORMAT = { data_format: "channels_last" };
/** Nothing that Keras would do beside. */
const kernelConfig = (bias: boolean) => ({
  activation: "linear",
  use_bias: bias,
  kernel_initializer: { class_name: "HeNormal", config: { seed: null } },
  bias_initializer: { class_name: "Zeros", config: {} },
  ...{ kernel_regularizer: null, bias_regularizer: null, activity_regularizer: null },
  ...{ kernel_constraint: null, bias_constraint: null },
});

const ones = { class_name: "Ones", config: {} };
const zeros = { class_name: "Zeros", config: {} };

const functions: Readonly<Record<LayerOf<"activation">["function"], (slope: number) => Described>> = {
  linear: () => ["Activation", { activation: "linear" }],
  relu: () => ["Activation", { activation: "relu" }],
  relu6: () => ["ReLU", { max_value: 6, negative_slope: 0, threshold: 0 }],
  leakyRelu: (slope) => ["ReLU", { max_value: null, negative_slope: slope, threshold: 0 }],
  sigmoid: () => ["Activation", { activation: "sigmoid" }],
  tanh: () => ["Activation", { activation: "tanh" }],
  silu: () => ["Activation", { activation: "swish" }],
};

/** Stock layers of Keras' for ours; every tensor but the logits has height, width and channels. */
const descriptions: { readonly [K in Layer["kind"]]: (layer: LayerOf<K>) => Described } = {
  conv: ({ filters, kernel, stride, padding, bias }) => [
    "Conv2D",
    {
      ...{
        filters,
        kernel_size: kernel,
        strides: stride,
        padding,
        ...FORMAT,
        dilation_rate: [1, 1],
        groups: 1,
      },
      ...kernelConfig(bias),
    },
  ],
  dense: ({ units, bias }) => ["Dense", { units, ...kernelConfig(bias) }],
  batchNorm: ({ eps, momentum, scale, center }) => [
    "BatchNormalization",
    {
      ...{ axis: [3], momentum: 1 - momentum, epsilon: eps, center, scale },
      ...{ beta_initializer: zeros, gamma_initializer: ones },
      ...{ moving_mean_initializer: zeros, moving_variance_initializer: ones },
      ...{ beta_regularizer: null, gamma_regularizer: null, beta_constraint: null, gamma_constraint: null },
    },
  ],
  activation: ({ function: name, slope }) => functions[name](slope ?? 0),
  zeroPadding: ({ margins }) => ["ZeroPadding2D", { padding: margins, ...FORMAT }],
  pool: ({ mode, kernel, stride, padding }) => [
    mode === "max" ? "MaxPooling2D" : "AveragePooling2D",
    { pool_size: kernel, padding, strides: stride, ...FORMAT },
  ],
  globalPool: ({ mode }) => [
    mode === "max" ? "GlobalMaxPooling2D" : "GlobalAveragePooling2D",
    { ...FORMAT, keepdims: true },
  ],
  merge: ({ function: name }) => [
    { add: "Add", subtract: "Subtract", multiply: "Multiply", average: "Average" }[name],
    {},
  ],
  concat: ({ axis }) => ["Concatenate", { axis: { height: 1, width: 2, channel: -1 }[axis] }],
  reshape: ({ shape }) => ["Reshape", { target_shape: shape }],
  permute: ({ order }) => ["Permute", { dims: order.map((axis) => axis + 1) }],
  dropout: ({ rate }) => ["Dropout", { rate, noise_shape: null, seed: null }],
  rescale: ({ scale, offset }) => ["Rescaling", { scale, offset }],
};

function describe(layer: Layer): Described {
  const [type, config] = (descriptions[layer.kind] as (layer: Layer) => Described)(layer);
  return [type, { trainable: true, ...config }];
}

/**
 * The layers of Keras' functional model that computes probabilities, in the order in which Keras itself has them,
 * which is that in which it reads weights.
 * @throws UserError when a name is one that Keras does not take.
 */
export function kerasLayers(model: LayerGraph, image: readonly [number, number]): KerasLayer[] {
  const layers = layersInOrder(model, image);
  for (const { name } of layers) {
    if (!/^[A-Za-z0-9.][A-Za-z0-9_.\\>-]*$/.test(name)) {
      throw new UserError(`layer ${name}: Keras takes names of letters, digits and any of _ . - only`);
    }
  }
  return layers;
}

/** The same, whatever the names. */
export function layersInOrder(model: LayerGraph, image: readonly [number, number]): KerasLayer[] {
  const made = new Map<string, { layer: KerasLayer; calls: Source[][] }>();
  const callOf = new Map<string, Source>();
  const add = (name: string, [type, config]: Described, inputs: readonly string[], calledAs = name) => {
    const calls: Source[][] = made.get(name)?.calls ?? [];
    const layer = { type, name, config: { name, dtype: "float32", ...config }, calls };
    if (!made.has(name)) made.set(name, { layer, calls });
    if (inputs.length > 0) calls.push(inputs.map((input) => callOf.get(input)!));
    callOf.set(calledAs, { layer: name, call: Math.max(0, calls.length - 1) });
  };
  const shape = { batch_input_shape: [null, ...image, 3], sparse: false, ragged: false };
  add(IMAGES, ["InputLayer", shape], []);
  for (const layer of model.layers) {
    add(layer.weightsOf ?? layer.name, describe(layer), layer.inputs, layer.name);
  }
  const fresh = (name: string): string => (callOf.has(name) ? fresh(`${name}_`) : name);
  const logits = fresh("logits");
  add(logits, ["Reshape", { trainable: true, target_shape: [model.classes] }], [model.output]);
  const output = fresh("softmax");
  add(output, ["Activation", { trainable: true, activation: "softmax" }], [logits]);
  const layers = [...made.values()].map(({ layer }) => layer);
  return inKerasOrder(layers, { layer: output, call: 0 });
}

interface Call {
  readonly layer: KerasLayer;
  readonly inputs: readonly Call[];
}

/**
 * Layers sorted as Keras sorts those of a functional model (`map_graph`): by the longest way to the output, then as
 * met on the way back from it.
 */
function inKerasOrder(layers: readonly KerasLayer[], output: Source): KerasLayer[] {
  const byName = new Map(layers.map((layer) => [layer.name, layer]));
  const calls = new Map<string, Call & { inputs: Call[] }>();
  const met = new Map<KerasLayer, number>();
  const finished: Call[] = [];
  const callAt = ({ layer: name, call }: Source) => {
    const key = `${name}\n${call}`;
    const layer = byName.get(name)!;
    if (!calls.has(key)) calls.set(key, { layer, inputs: [] });
    return { key, at: calls.get(key)!, sources: layer.calls[call] ?? [] };
  };
  const begun = new Set<string>();
  const stack = [{ source: output, next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    const { key, at, sources } = callAt(top.source);
    if (!begun.has(key)) {
      begun.add(key);
      if (!met.has(at.layer)) met.set(at.layer, met.size);
    }
    if (top.next === sources.length) {
      finished.push(at);
      stack.pop();
      continue;
    }
    const source = sources[top.next++];
    const below = callAt(source);
    at.inputs.push(below.at);
    if (!begun.has(below.key)) stack.push({ source, next: 0 });
  }
  const depths = new Map<Call, number>();
  const layerDepths = new Map<KerasLayer, number>();
  for (const call of finished.reverse()) {
    const depth = Math.max(depths.get(call) ?? 0, layerDepths.get(call.layer) ?? 0);
    layerDepths.set(call.layer, depth);
    for (const input of call.inputs) depths.set(input, Math.max(depth + 1, depths.get(input) ?? 0));
  }
  const used = layers.filter((layer) => met.has(layer));
  return used.sort((a, b) => layerDepths.get(b)! - layerDepths.get(a)! || met.get(a)! - met.get(b)!);
}

/** `model_config` in the words that tf.keras 2 and Keras 3 both read. */
export function modelConfig(name: string, layers: readonly KerasLayer[]): object {
  const output = layers[layers.length - 1].name;
  return {
    class_name: "Functional",
    config: {
      name,
      trainable: true,
      layers: layers.map(({ type, name, config, calls }) => ({
        class_name: type,
        config,
        name,
        inbound_nodes: calls.map((sources) => sources.map(({ layer, call }) => [layer, call, 0, {}])),
      })),
      input_layers: [[IMAGES, 0, 0]],
      output_layers: [[output, 0, 0]],
    },
  };
}
