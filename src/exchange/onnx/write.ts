import { topologicalOrder } from "../../autodiff/gradient.ts";
import { gradCamGraph } from "../../cam/graphs.ts";
import { deepestLayer, findMapLayer, mapLayers } from "../../cam/layers.ts";
import { writeDurably } from "../../files/durable.ts";
import { type BuiltModel, buildModel } from "../../models/build.ts";
import { Variables } from "../../nn/scope.ts";
import { relu } from "../../ops/elementwise.ts";
import { nodeOf } from "../../ops/op.ts";
import { UserError } from "../../tensor/errors.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { version } from "../../train/environment.ts";
import { metadataOf, type Trained } from "../../train/trained.ts";
import { BATCH, declared, OnnxGraph } from "./graph.ts";
import { encodeModel } from "./proto.ts";
import { rules } from "./rules.ts";

/** Of 2022: read by every runtime of today. */
const OPSET = 17;
const IR_VERSION = 8;

export interface OnnxOptions {
  /** Layer of the output `map`, or false for none; the last that is no single pixel, where there is one, by default. */
  readonly map?: string | false;
}

/**
 * Writes a model for any ONNX runtime: `image` [N,3,H,W], RGB in 0 to 1, normalised inside → `logits` [N,K],
 * `probabilities` [N,K], and `map` [N,H,W] in 0 to 1, the finished Grad-CAM of the predicted class. Equal models give
 * equal bytes.
 */
export async function writeOnnx(trained: Trained, path: string, options: OnnxOptions = {}): Promise<void> {
  await writeDurably(path, encodeOnnx(trained, options));
}

export function encodeOnnx(trained: Trained, { map }: OnnxOptions = {}): Uint8Array {
  const variables = new Variables(0);
  const built = buildModel(trained.model, variables, { batch: BATCH, image: trained.image, training: false });
  const graph = new OnnxGraph("image");
  for (const { name, shape } of variables.all()) graph.variable(name, shape, trained.weights.get(name)!);
  const images = normalized(graph, trained);
  const layers = mapLayers(built);
  const layer = map === false ? undefined : (map ?? deepestLayer(layers));
  const roots = [
    built.logits,
    ...(layer === undefined ? [] : [smallMap(built, findMapLayer(layers, layer))]),
  ];
  const names = convert(graph, roots, new Map([[built.images, images]]));
  const [logits, small] = roots.map((root) => names.get(root)!);
  graph.output("logits", logits);
  graph.output(
    "probabilities",
    graph.node("Softmax", [logits], "probabilities", { attributes: { axis: 1 } }),
  );
  if (small !== undefined) graph.output("map", finished(graph, small, trained.image));
  const [n, k] = built.logits.shape;
  const ends = {
    logits: [n, k],
    probabilities: [n, k],
    ...(layer !== undefined && { map: [n, ...trained.image] }),
  };
  const facts = {
    ...metadataOf(trained),
    ...(layer !== undefined && { map: JSON.stringify({ method: "gradcam", layer }) }),
  };
  return encodeModel({
    ir_version: IR_VERSION,
    producer_name: "atento",
    producer_version: version,
    doc_string: describe(trained, layer),
    opset_import: [{ domain: "", version: OPSET }],
    metadata_props: Object.entries(facts).map(([key, value]) => ({ key, value })),
    graph: {
      name: trained.variant || "model",
      node: graph.nodes,
      initializer: graph.initializers,
      input: [declared("image", built.images)],
      output: Object.entries(ends).map(([name, shape]) => declared(name, { shape })),
    },
  });
}

/** Clipped at 0; what it is divided by makes no difference to the finished map. */
const smallMap = (built: BuiltModel, layer: Tensor) =>
  relu(gradCamGraph(built, layer, "predicted").outputs["map"]);

/** (image − mean)/std. */
function normalized(graph: OnnxGraph, { normalization: { mean, std } }: Trained): string {
  const perChannel = (name: string, values: readonly number[]) =>
    graph.floats(name, [3, 1, 1], Float32Array.from(values));
  const centred = graph.node("Sub", ["image", perChannel("mean", mean)], "normalize");
  return graph.node("Div", [centred, perChannel("std", std)], "normalize");
}

/** Says every tensor that the roots need in ONNX; the names of all. @throws UserError for an op without a rule. */
export function convert(
  graph: OnnxGraph,
  roots: readonly Tensor[],
  inputs: ReadonlyMap<Tensor, string>,
): ReadonlyMap<Tensor, string> {
  const names = new Map<Tensor, string>(inputs);
  for (const tensor of topologicalOrder(roots)) {
    if (names.has(tensor)) continue;
    names.set(tensor, nameOf(graph, tensor, names));
  }
  return names;
}

function nameOf(graph: OnnxGraph, tensor: Tensor, names: ReadonlyMap<Tensor, string>): string {
  const { source, label } = tensor;
  if (source.kind === "variable") return source.variable.name;
  const node = nodeOf(tensor);
  if (!node) throw new Error(`${label}: is not fed`);
  const rule = rules.get(node.op.name);
  if (!rule) throw new UserError(`${label || "model"}: ${node.op.name} cannot be said in ONNX`);
  return rule({ graph, node, label, inputs: node.inputs.map((x) => names.get(x)!) });
}

/** The small map [N,1,h,w] finished as `cam/map.ts` does it: [N,H,W]. */
function finished(graph: OnnxGraph, small: string, [height, width]: readonly [number, number]): string {
  const add = (type: string, inputs: readonly string[], attributes = {}) =>
    graph.node(type, inputs, "map", { attributes });
  const size = add("Concat", [graph.batch(), graph.ints([1, height, width])], { axis: 0 });
  const large = add("Resize", [small, "", "", size], {
    mode: "linear",
    coordinate_transformation_mode: "half_pixel",
  });
  const space = { axes: [2, 3], keepdims: 1 };
  const above = add("Sub", [large, add("ReduceMin", [large], space)]);
  const top = add("ReduceMax", [above], space);
  const divisor = add("Where", [add("Greater", [top, graph.scalar(0)]), top, graph.scalar(1)]);
  return add("Squeeze", [add("Div", [above, divisor]), graph.ints([1])]);
}

function describe(
  { variant, classes, image: [height, width], normalization }: Trained,
  layer?: string,
): string {
  const { mean, std } = normalization;
  return [
    `${variant}: ${classes.length} classes, trained with Atento.`,
    `image: RGB in 0 to 1, [N,3,${height},${width}]; normalised inside by mean ${mean.join(", ")} and deviation ${std.join(", ")}.`,
    "logits and probabilities: a column a class, named by the metadata's classes.",
    ...(layer
      ? [`map: where the predicted class was seen, 0 to 1: Grad-CAM at ${layer}, at the image's size.`]
      : []),
  ].join("\n");
}
