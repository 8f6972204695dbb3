import { topologicalOrder } from "../../autodiff/gradient.ts";
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from "../../ops/conv.ts";
import { apply, nodeOf, type Op } from "../../ops/op.ts";
import {
  convPairAlongOp,
  convPairOp,
  inputGradPairAlongOp,
  inputGradPairOp,
  weightGradPairOp,
} from "../../ops/pairs.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { type Graph, rootsOf } from "../graph.ts";
import { addends, byRule, type OpNode, type Pass, type Place, sameAttrs } from "../rewrite.ts";
import { meetsPools } from "./pooled.ts";

const kinds = [
  { op: conv2dOp, first: convPairOp, second: convPairAlongOp },
  { op: conv2dInputGradOp, first: inputGradPairOp, second: inputGradPairAlongOp },
] as readonly { op: Op; first: Op; second: Op }[];

/** A convolution of maps of one pixel. */
function layerOf(x: Tensor): OpNode | undefined {
  const node = nodeOf(x);
  if (!node || !kinds.some(({ op }) => op.name === node.op.name)) return undefined;
  return meetsPools(node) ? node : undefined;
}

const alike = (a: OpNode, b: OpNode) =>
  a.op.name === b.op.name &&
  a.inputs[1] === b.inputs[1] &&
  sameShape(a.inputs[0].shape, b.inputs[0].shape) &&
  sameAttrs(a, b);

interface Pair {
  readonly first: Tensor;
  readonly second: Tensor;
}

const secondInput = ({ second }: Pair) => nodeOf(second)!.inputs[0];

/** Two applications of one layer, neither of which needs the other, by either of them. */
function pairsOf(graph: Graph): Map<Tensor, Pair> {
  const pairs = new Map<Tensor, Pair>();
  // the halves of a pair are computed at once, when the inputs of both are
  const before = (x: Tensor) => {
    const pair = pairs.get(x);
    if (!pair) return [];
    return [x === pair.first ? secondInput(pair) : pair.first];
  };
  const needs = (x: Tensor, other: Tensor) => topologicalOrder([x], before).includes(other);
  const single: Tensor[] = [];
  for (const x of topologicalOrder(rootsOf(graph))) {
    const layer = layerOf(x);
    if (!layer) continue;
    const at = single.findIndex(
      (other) => alike(layerOf(other)!, layer) && !needs(x, other) && !needs(other, x),
    );
    if (at < 0) {
      single.push(x);
      continue;
    }
    const pair = { first: single[at], second: x };
    single.splice(at, 1);
    pairs.set(pair.first, pair).set(x, pair);
  }
  return pairs;
}

function half(
  { op, inputs, attrs, old, ahead }: Place,
  pairs: ReadonlyMap<Tensor, Pair>,
): Tensor | undefined {
  const pair = pairs.get(old);
  if (!pair) return undefined;
  const kind = kinds.find((k) => k.op.name === op.name)!;
  if (old === pair.second) return apply(kind.second, [ahead(pair.first), ...inputs], attrs);
  return apply(kind.first, [...inputs, ahead(secondInput(pair))], attrs);
}

/** conv2d_weight_grad(a, da) + conv2d_weight_grad(b, db) */
function sum(place: Place): Tensor | undefined {
  const both = addends(place, conv2dWeightGradOp);
  if (!both) return undefined;
  const { left, right } = both;
  const inputs = [...left.inputs, ...right.inputs];
  const same = left.inputs.every((x, k) => sameShape(x.shape, right.inputs[k].shape));
  return same && meetsPools(left) ? apply(weightGradPairOp, inputs, left.attrs) : undefined;
}

export const pairs: Pass = {
  name: "pairs",
  summary: "a layer that is applied to two pools meets both in one record, and so do its gradients",
  run: byRule((graph) => {
    const found = pairsOf(graph);
    return (place) => half(place, found) ?? sum(place);
  }),
};
