import { topologicalOrder } from "../autodiff/gradient.ts";
import { Scope, type Variables } from "../nn/scope.ts";
import { nodeOf } from "../ops/op.ts";
import { input, type Shape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { type ResNet, resnet } from "./resnet.ts";

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
  model: ResNet,
  variables: Variables,
  { batch, image, training, frozen }: BuildOptions,
): BuiltModel {
  const images = input("images", [batch, 3, ...image]);
  const nn = Scope.root(variables, {
    training,
    frozen,
    batchNorm: model.batchNorm,
    initialization: model.initialization,
  });
  return { images, logits: resnet(images, nn, model), nn };
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
