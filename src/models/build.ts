import { topologicalOrder } from "../autodiff/gradient.ts";
import { kerasBatchNorm } from "../nn/layers.ts";
import { Scope, Variables } from "../nn/scope.ts";
import { nodeOf } from "../ops/op.ts";
import { reshape } from "../ops/shape.ts";
import { ShapeError } from "../tensor/errors.ts";
import { input, type Shape, sameShape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { type Architecture, isLayerGraph } from "./architecture.ts";
import { IMAGES, type LayerGraph, type StockLayers } from "./layer-graph.ts";
import { resnet } from "./resnet.ts";
import { buildLayer } from "./stock-layers.ts";

export interface BuiltModel {
  /** [N,3,H,W], fed as `images`. */
  readonly images: Tensor;
  /** [N,classes]. */
  readonly logits: Tensor;
  readonly nn: Scope;
}

export interface BuildOptions {
  readonly batch: number;
  /** [height, width]. */
  readonly image: readonly [number, number];
  readonly training: boolean;
  /** Layers, by their paths, that stay in evaluation mode in training. */
  readonly frozen?: (path: string) => boolean;
}

/** The graph of a model for one batch size; variables are made at first and shared afterwards. */
export function buildModel(
  model: Architecture,
  variables: Variables,
  { batch, image, training, frozen }: BuildOptions,
): BuiltModel {
  const images = input("images", [batch, 3, ...image]);
  const nn = Scope.root(variables, {
    training,
    frozen,
    ...(isLayerGraph(model)
      ? { batchNorm: kerasBatchNorm, initialization: "keras" }
      : { batchNorm: model.batchNorm, initialization: model.initialization }),
  });
  const logits = isLayerGraph(model) ? layerGraph(images, nn, model) : resnet(images, nn, model);
  return { images, logits, nn };
}

/** x [N,3,H,W] → logits [N,classes]. @throws ShapeError naming the layer at fault. */
function layerGraph(x: Tensor, nn: Scope, { classes, ...model }: LayerGraph): Tensor {
  const logits = layers(x, nn, model);
  if (!sameShape(logits.shape, [x.shape[0], classes, 1, 1])) {
    const found = showShape(logits.shape);
    throw new ShapeError(
      "logits",
      `are ${found}, one of each of ${classes} classes is expected`,
      model.output,
    );
  }
  return reshape(logits, [x.shape[0], classes]);
}

/** The result of layers, each built under its name. @throws ShapeError naming the layer at fault. */
function layers(x: Tensor, nn: Scope, { layers, output }: StockLayers): Tensor {
  const outputs = new Map([[IMAGES, x]]);
  for (const layer of layers) {
    const inputs = layer.inputs.map((name) => outputs.get(name)!);
    const { name, weightsOf = name } = layer;
    outputs.set(
      name,
      nn.layer(name, () => buildLayer(layer, inputs, nn.scope(weightsOf))),
    );
  }
  return outputs.get(output)!;
}

/** [1,C,H,W] of what layers give for one image. @throws ShapeError naming the layer at fault. */
export function shapeOfLayers(model: StockLayers, image: readonly [number, number]): Shape {
  const nn = Scope.root(new Variables(0), {
    training: false,
    batchNorm: kerasBatchNorm,
    initialization: "keras",
  });
  return layers(input("images", [1, 3, ...image]), nn, model).shape;
}

export interface LayerSummary {
  readonly name: string;
  readonly shape: Shape;
  /** Trained and running values of the layer and everything inside it. */
  readonly parameters: number;
  readonly statistics: number;
  /** Multiply-adds of the layer and everything inside it, for one image. */
  readonly multiplyAdds: number;
}

export interface ModelSummary {
  readonly layers: readonly LayerSummary[];
  readonly parameters: number;
  readonly statistics: number;
  readonly multiplyAdds: number;
}

/** Counts a model built for a batch of one image. */
export function summarize({ logits, nn }: BuiltModel, variables: Variables): ModelSummary {
  const nodes = topologicalOrder([logits]).flatMap((x) => nodeOf(x) ?? []);
  const inside = (label: string, layer: string) =>
    label === layer || label.startsWith(`${layer}.`) || layer === "";
  const count = (kind: "parameter" | "statistic", layer: string) =>
    variables.tensors(kind).reduce((sum, x) => sum + (inside(x.label, layer) ? sizeOf(x.shape) : 0), 0);
  const summary = (name: string, shape: Shape): LayerSummary => ({
    name,
    shape,
    parameters: count("parameter", name),
    statistics: count("statistic", name),
    multiplyAdds: nodes.reduce(
      (sum, node) => sum + (inside(node.output.label, name) ? (node.op.multiplyAdds?.(node) ?? 0) : 0),
      0,
    ),
  });
  return {
    ...summary("", logits.shape),
    layers: [...nn.layers].map(([name, { shape }]) => summary(name, shape)),
  };
}
