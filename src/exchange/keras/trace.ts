import { topologicalOrder } from "../../autodiff/gradient.ts";
import { isLayerGraph } from "../../models/architecture.ts";
import { type BuiltModel, buildModel } from "../../models/build.ts";
import { IMAGES, type Layer, type LayerGraph, layerGraphSchema } from "../../models/layer-graph.ts";
import { Variables } from "../../nn/scope.ts";
import { updateRunningOp } from "../../ops/batch-norm.ts";
import { type Node, nodeOf, type Op } from "../../ops/op.ts";
import type { Window2d } from "../../ops/window.ts";
import { UserError } from "../../tensor/errors.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import type { Trained } from "../../train/trained.ts";
import type { Weights } from "../../train/weights.ts";
import type { Unnamed } from "./stock.ts";

export interface Layers {
  readonly model: LayerGraph;
  /** Values by the names of `model`'s variables. */
  readonly weights: Weights;
  /** The name that one of `model`'s variables has in the model that was given. */
  nameOf(variable: string): string;
  /** Values by the names of the model that was given. */
  back(weights: Weights): Weights;
}

/**
 * Any model as stock layers, read from its graph of inference, so that an attention module needs no words about it.
 * @throws UserError naming an operation that no stock layer computes.
 */
export function layersOf({ model, image, weights }: Trained): Layers {
  if (isLayerGraph(model)) return { model, weights, nameOf: (name) => name, back: (values) => values };
  const variables = new Variables(0);
  const { images, logits } = buildModel(model, variables, { batch: 1, image, training: false });
  const tracer = new Tracer(
    images,
    momenta(buildModel(model, variables, { batch: 2, image, training: true })),
  );
  const output = tracer.read(logits);
  const graph = layerGraphSchema.parse({ layers: tracer.layers, output, classes: model.classes });
  const ours = [...tracer.variables];
  return {
    model: graph,
    weights: new Map(ours.map(([name, own]) => [name, weights.get(own)!])),
    nameOf: (name) => tracer.variables.get(name)!,
    back: (values) => new Map(ours.map(([name, own]) => [own, values.get(name)!])),
  };
}

/** Shares of a new batch by the running mean they move: a graph of inference does not know them. */
function momenta({ nn }: BuiltModel): Map<string, number> {
  return new Map(
    nn.effects.flatMap((effect): [string, number][] => {
      const node = nodeOf(effect);
      if (node?.op.name !== updateRunningOp.name) return [];
      return [[node.inputs[0].label, (node.attrs as { momentum: number }).momentum]];
    }),
  );
}

type Op2d = Node & { readonly op: Op };
type Mutable = Layer & { bias?: boolean };

/** Writes the layers of a graph for one image down, operation by operation. */
class Tracer {
  readonly layers: Mutable[] = [];
  /** Names of our variables by those in `layers`. */
  readonly variables = new Map<string, string>();
  /** The layer that computes a tensor. */
  readonly #names = new Map<Tensor, string>();
  readonly #readers = new Map<Tensor, number>();
  /** Of batch normalisations, by the name of their running mean. */
  readonly momenta: ReadonlyMap<string, number>;

  constructor(images: Tensor, momenta: ReadonlyMap<string, number>) {
    this.momenta = momenta;
    this.#names.set(images, IMAGES);
  }

  /** The name of the layer that gives `logits`. */
  read(logits: Tensor): string {
    const tensors = topologicalOrder([logits]);
    for (const tensor of tensors) {
      for (const x of nodeOf(tensor)?.inputs ?? []) this.#readers.set(x, (this.#readers.get(x) ?? 0) + 1);
    }
    for (const tensor of tensors) {
      const node = nodeOf(tensor);
      if (node && !variableBelow(tensor)) this.#names.set(tensor, this.#trace(node));
    }
    return this.#names.get(logits)!;
  }

  #trace(node: Op2d): string {
    const rule = Object.hasOwn(rules, node.op.name) ? rules[node.op.name] : undefined;
    const name = rule?.(this, node);
    if (name === undefined) {
      const place = node.output.label || node.inputs.map(({ label }) => label).find(Boolean) || "the model";
      throw new UserError(
        `${place}: ${node.op.name} of ${node.inputs.map(({ shape }) => showShape(shape)).join(", ")} has no stock layer in Keras`,
      );
    }
    return name;
  }

  nameOf(x: Tensor): string {
    return this.#names.get(x)!;
  }

  isReadOnce(x: Tensor): boolean {
    return this.#readers.get(x) === 1;
  }

  layerOf(x: Tensor): Mutable | undefined {
    const name = this.nameOf(x);
    return this.layers.find((layer) => layer.name === name);
  }

  /** Adds a layer and gives its name: the one asked for where it is free. */
  add(wanted: string, inputs: readonly string[], layer: Unnamed, weightsOf?: string): string {
    const taken = (name: string) => name === IMAGES || this.layers.some((other) => other.name === name);
    let name = wanted;
    for (let k = 2; taken(name); k++) name = `${wanted}_${k}`;
    this.layers.push({ ...layer, name, inputs, ...(weightsOf && { weightsOf }) } as Mutable);
    return name;
  }

  /** The same for the result of an operation: named after the scope it was made in, or after what it reads. */
  result({ inputs, output }: Node, what: string, layer: Unnamed): string {
    const from = inputs.flatMap((x) => this.#names.get(x) ?? []);
    const free = output.label && !this.layers.some(({ name }) => name === output.label);
    return this.add(free ? output.label : `${parent(from[0])}${what}`, from, layer);
  }

  /** A layer with a kernel; the second one with the same kernel shares its weights. */
  kernel(weight: Tensor, from: string, layer: Unnamed): string {
    const own = variableBelow(weight)!.label;
    const name = own.replace(/\.weight$/, "");
    const shared = this.layers.some((other) => other.name === name);
    this.variables.set(`${name}.weight`, own);
    return this.add(name, [from], layer, shared ? name : undefined);
  }

  /** Notes a bias where what is added to the result of a kernel is a variable. */
  bias({ inputs }: Node): string | undefined {
    const [x, b] = inputs;
    const own = variableBelow(b);
    if (!own) return undefined;
    const layer = this.layerOf(x);
    const makes = layer?.kind === "conv" || layer?.kind === "dense";
    if (!makes || !this.isReadOnce(x) || sizeOf(own.shape) !== x.shape[1]) return undefined;
    layer.bias = true;
    this.variables.set(`${layer.weightsOf ?? layer.name}.bias`, own.label);
    return layer.name;
  }
}

/** The variable of which a tensor is another view. */
function variableBelow(x: Tensor): Tensor | undefined {
  if (x.source.kind === "variable") return x;
  const node = nodeOf(x);
  return node?.op.name === "reshape" ? variableBelow(node.inputs[0]) : undefined;
}

const parent = (name: string) => name.slice(0, name.lastIndexOf(".") + 1);

type Rule = (tracer: Tracer, node: Op2d) => string | undefined;

const activation =
  (name: "relu" | "sigmoid"): Rule =>
  (tracer, node) =>
    tracer.result(node, name, { kind: "activation", function: name });

const pooling =
  (mode: "max" | "average"): Rule =>
  (tracer, node) => {
    const { kernel, stride, padding } = node.attrs as Window2d;
    const [x] = node.inputs;
    const layer = tracer.layerOf(x);
    if (
      mode === "max" &&
      padding.some(Boolean) &&
      !(layer?.kind === "activation" && isPositive(layer.function))
    ) {
      throw new UserError(
        `${node.output.label || tracer.nameOf(x)}: a max pool with padding reads values that may be below 0; Keras' stock layers pad with zeros`,
      );
    }
    const from = padded(tracer, `${node.output.label || `${tracer.nameOf(x)}.pool`}.pad`, x, padding);
    const pool: Unnamed = { kind: "pool", mode, kernel: [...kernel], stride: [...stride], padding: "valid" };
    return tracer.add(node.output.label || `${tracer.nameOf(x)}.pool`, [from], pool);
  };

const isPositive = (name: string) => ["relu", "relu6", "sigmoid"].includes(name);

/** Zeros around a map, the same on both sides, as a layer of their own. */
function padded(tracer: Tracer, name: string, x: Tensor, [ph, pw]: readonly [number, number]): string {
  const from = tracer.nameOf(x);
  if (ph === 0 && pw === 0) return from;
  return tracer.add(name, [from], {
    kind: "zeroPadding",
    margins: [
      [ph, ph],
      [pw, pw],
    ],
  });
}

/** Over space as it is; over channels once pixels have become channels. */
const reduction =
  (mode: "max" | "average"): Rule =>
  (tracer, node) => {
    const { over } = node.attrs as { over: "spatial" | "channel" };
    const what = mode === "max" ? "max" : "mean";
    if (over === "spatial") return tracer.result(node, what, { kind: "globalPool", mode });
    const [x] = node.inputs;
    const [, c, h, w] = x.shape;
    const base = `${parent(tracer.nameOf(x))}${what}`;
    const flat = tracer.add(`${base}.flat`, [tracer.nameOf(x)], { kind: "reshape", shape: [1, h * w, c] });
    const turned = tracer.add(`${base}.turn`, [flat], { kind: "permute", order: [0, 2, 1] });
    const pooled = tracer.add(`${base}.pool`, [turned], { kind: "globalPool", mode });
    return tracer.add(node.output.label || base, [pooled], { kind: "reshape", shape: [h, w, 1] });
  };

const rules: Readonly<Record<string, Rule>> = {
  conv2d: (tracer, { inputs: [x, w], attrs, output }) => {
    const variable = variableBelow(w);
    if (!variable) return undefined;
    if (variable.shape.length === 2) {
      return tracer.kernel(w, tracer.nameOf(x), { kind: "dense", units: variable.shape[0], bias: false });
    }
    const { stride, padding } = attrs as Pick<Window2d, "stride" | "padding">;
    const kernel: [number, number] = [w.shape[2], w.shape[3]];
    // what Keras calls "same" is the same on both sides only where nothing is left out
    const same = stride.every((s) => s === 1) && kernel.every((k, axis) => k === 2 * padding[axis] + 1);
    const name = variable.label.replace(/\.weight$/, "");
    const from = same ? tracer.nameOf(x) : padded(tracer, `${name}.pad`, x, padding);
    return tracer.kernel(w, from, {
      ...{ kind: "conv", filters: output.shape[1], kernel, stride: [...stride], bias: false },
      padding: same ? "same" : "valid",
    } as Unnamed);
  },
  batch_norm_inference: (tracer, { inputs: [x, mean, variance, gamma, beta], attrs }) => {
    const name = gamma.label.replace(/\.weight$/, "");
    const ours = { weight: gamma, bias: beta, running_mean: mean, running_var: variance };
    for (const [key, tensor] of Object.entries(ours)) {
      const variable = variableBelow(tensor);
      if (!variable) return undefined;
      tracer.variables.set(`${name}.${key}`, variable.label);
    }
    const { eps } = attrs as { eps: number };
    const momentum = tracer.momenta.get(mean.label);
    if (momentum === undefined) return undefined;
    return tracer.add(name, [tracer.nameOf(x)], {
      kind: "batchNorm",
      eps,
      momentum,
      scale: true,
      center: true,
    });
  },
  add: (tracer, node) => tracer.bias(node) ?? merging("add")(tracer, node),
  multiply: (tracer, node) => merging("multiply")(tracer, node),
  relu: activation("relu"),
  sigmoid: activation("sigmoid"),
  scale: (tracer, node) => {
    const { factor } = node.attrs as { factor: number };
    return tracer.result(node, "scale", { kind: "rescale", scale: factor, offset: 0 });
  },
  max_pool2d: pooling("max"),
  avg_pool2d: pooling("average"),
  mean: reduction("average"),
  max: reduction("max"),
  concat: (tracer, node) => tracer.result(node, "concat", { kind: "concat", axis: "channel" }),
  channel_conv: (tracer, { inputs: [x, w], attrs }) => {
    if ((attrs as { flip: boolean }).flip || !variableBelow(w)) return undefined;
    const name = variableBelow(w)!.label.replace(/\.weight$/, "");
    const row = tracer.add(`${name}.row`, [tracer.nameOf(x)], { kind: "reshape", shape: [1, x.shape[1], 1] });
    const conv: Unnamed = {
      ...{ kind: "conv", filters: 1, kernel: [1, w.shape[2]], stride: [1, 1], padding: "same", bias: false },
    };
    const filtered = tracer.kernel(w, row, conv);
    return tracer.add(`${name}.channels`, [filtered], { kind: "reshape", shape: [1, 1, x.shape[1]] });
  },
  reshape: (tracer, { inputs: [x], output }) => reshaped(tracer, x, output.shape),
  permute: (tracer, node) => {
    const { order } = node.attrs as { order: readonly number[] };
    if (order.length !== 4 || order[0] !== 0) return undefined;
    const [, c, h, w] = order.map((axis) => [-1, 2, 0, 1][axis]);
    return tracer.result(node, "permute", { kind: "permute", order: [h, w, c] });
  },
};

const merging =
  (name: "add" | "multiply"): Rule =>
  (tracer, node) =>
    node.inputs.every((x) => !variableBelow(x))
      ? tracer.result(node, name, { kind: "merge", function: name })
      : undefined;

/** [N,C,H,W] in their logical order under another shape; [N,C] is [N,C,1,1]. */
function reshaped(tracer: Tracer, x: Tensor, to: Shape): string | undefined {
  const [[, c, h = 1, w = 1], [, channels, height = 1, width = 1]] = [x.shape, to];
  const from = tracer.nameOf(x);
  if (to[0] !== x.shape[0] || to.length > 4) return undefined;
  if (c === channels && h === height && w === width) return from;
  const base = `${parent(from)}reshape`;
  if (c === channels) return tracer.add(base, [from], { kind: "reshape", shape: [height, width, c] });
  const first = tracer.add(`${base}.first`, [from], { kind: "permute", order: [2, 0, 1] });
  const middle = tracer.add(base, [first], { kind: "reshape", shape: [channels, height, width] });
  return tracer.add(`${base}.last`, [middle], { kind: "permute", order: [1, 2, 0] });
}
