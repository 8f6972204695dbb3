import type { Options } from "../attention/spec.ts";
import { gradient, topologicalOrder } from "../autodiff/gradient.ts";
import type { Graph } from "../compile/graph.ts";
import type { BuiltModel } from "../models/build.ts";
import { equalOp } from "../ops/elementwise.ts";
import { apply, nodeOf } from "../ops/op.ts";
import { max } from "../ops/reduce.ts";
import { reshape } from "../ops/shape.ts";
import { input, type Tensor } from "../tensor/tensor.ts";
import { method as gradCam } from "./methods/grad-cam.ts";
import type { MapMethod } from "./spec.ts";

/** 1 at the largest logit of each image, also where several are largest: [N,K] → [N,K]. */
function predictedClass(logits: Tensor): Tensor {
  const [n, classes] = logits.shape;
  const maps = reshape(logits, [n, classes, 1, 1]);
  return reshape(apply(equalOp, [maps, max(maps, "channel")], null), logits.shape);
}

/**
 * The map of a batch in one run: feeds `images` and, unless the predicted class is explained, `target` [N,K], what
 * each logit counts in the score; outputs `logits` and `map`.
 */
export function mapGraph(
  { logits }: BuiltModel,
  { method, options, layer }: { method: MapMethod; options: Options; layer: Tensor },
  explained: "predicted" | "given",
): Graph {
  if (!method.needs.includes("gradients")) {
    return {
      outputs: { logits, map: (method as MapMethod<never>).map({ activations: layer }, options) },
      effects: [],
    };
  }
  const seed = explained === "given" ? input("target", logits.shape) : predictedClass(logits);
  const [gradients] = gradient(logits, seed, [layer]);
  return { outputs: { logits, map: method.map({ activations: layer, gradients }, options) }, effects: [] };
}

/** `mapGraph` of Grad-CAM. */
export const gradCamGraph = (built: BuiltModel, layer: Tensor, explained: "predicted" | "given"): Graph =>
  mapGraph(built, { method: gradCam as MapMethod, options: gradCam.options, layer }, explained);

/** The network from a layer on: feeds `activations` [N,C,h,w], and `images` where something passes the layer by; outputs `logits`. */
export function tailGraph({ logits }: BuiltModel, layer: Tensor): Graph {
  const replaced = new Map<Tensor, Tensor>([[layer, input("activations", layer.shape)]]);
  for (const x of topologicalOrder([logits])) {
    const { source } = x;
    if (source.kind !== "op" || replaced.has(x) || !nodeOf(x)?.inputs.some((y) => replaced.has(y))) continue;
    const inputs = source.inputs.map((y) => replaced.get(y) ?? y);
    replaced.set(x, { ...x, source: { ...source, inputs } });
  }
  return { outputs: { logits: replaced.get(logits) ?? logits }, effects: [] };
}
