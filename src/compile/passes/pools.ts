import { topologicalOrder } from "../../autodiff/gradient.ts";
import { batchNormOp } from "../../ops/batch-norm.ts";
import { scale, sumToOp } from "../../ops/elementwise.ts";
import {
  type ConvFusedAttrs,
  convFusedOp,
  extremeAlongOp,
  meanAlongOp,
  statisticsAlongOp,
} from "../../ops/fused.ts";
import { apply, nodeOf, type Op } from "../../ops/op.ts";
import { maxOp, meanOp, type Over } from "../../ops/reduce.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import type { Graph } from "../graph.ts";
import { byRule, type OpNode, type Pass, type Place } from "../rewrite.ts";

const isOp = (x: Tensor, { name }: Op<never>) => {
  const node = nodeOf(x);
  return node?.op.name === name ? node : undefined;
};

/** The batch norm of a convolution's results of which this pools all pixels of each image. */
function pooledNorm({ op, inputs: [z], attrs, output }: Pick<OpNode, "op" | "inputs" | "attrs" | "output">) {
  const [n, c, h, w] = z?.shape ?? [];
  const pools = op.name === meanOp.name || op.name === maxOp.name;
  const over = pools ? (attrs as Over).over === "spatial" : op.name === sumToOp.name;
  const norm = over && h * w > 1 && sameShape(output.shape, [n, c, 1, 1]) ? isOp(z, batchNormOp) : undefined;
  if (!norm) return undefined;
  const conv = isOp(norm.inputs[0], convFusedOp);
  return conv && isOp(norm.inputs[1], statisticsAlongOp)?.inputs[0] === conv.output ? norm : undefined;
}

interface Wanted {
  readonly pools: ConvFusedAttrs["pools"];
  readonly gamma?: Tensor;
}

/** What is pooled of each convolution. Of the pixel with the largest value γ tells which it is, so it must be there. */
function wantedOf(graph: Graph): Map<Tensor, Wanted> {
  const wanted = new Map<Tensor, Wanted>();
  for (const x of topologicalOrder([...Object.values(graph.outputs), ...graph.effects])) {
    const node = nodeOf(x);
    const norm = node && pooledNorm(node);
    if (!norm) continue;
    const [conv, , gamma] = norm.inputs;
    const known = wanted.get(conv);
    const both = node.op.name === maxOp.name && gamma.source.kind === "variable";
    if (known?.pools !== "both") wanted.set(conv, both ? { pools: "both", gamma } : { pools: "mean" });
  }
  return wanted;
}

/** The convolution sums along. */
function pooling({ op, inputs, attrs, old }: Place, wanted: ReadonlyMap<Tensor, Wanted>): Tensor | undefined {
  const asked = op.name === convFusedOp.name ? wanted.get(old) : undefined;
  if (!asked) return undefined;
  const { pools, gamma } = asked;
  return apply(convFusedOp, [...inputs, ...(gamma ? [gamma] : [])], { ...(attrs as ConvFusedAttrs), pools });
}

/** mean(batch_norm(y)) = batch_norm(mean(y)); max(batch_norm(y)) = batch_norm(max(y)), or of the minimum where γ < 0. */
function pooled(place: Place): Tensor | undefined {
  const norm = pooledNorm(place);
  if (!norm) return undefined;
  const [y, ...rest] = norm.inputs;
  const { attrs, inputs } = nodeOf(y)! as OpNode & { attrs: ConvFusedAttrs };
  const of = (x: Tensor) => apply(batchNormOp, [x, ...rest], norm.attrs as { eps: number });
  if (place.op.name !== maxOp.name) {
    const mean = of(apply(meanAlongOp, [y], { over: "spatial" }));
    const [, , h, w] = y.shape;
    return place.op.name === sumToOp.name ? scale(mean, h * w) : mean;
  }
  const gamma = inputs.at(-1)!;
  return attrs.pools === "both" && gamma === rest[1]
    ? of(apply(extremeAlongOp, [y, gamma], null))
    : undefined;
}

export const poolsAlong: Pass = {
  name: "pools along",
  summary:
    "a convolution takes mean and extreme of each image's results while it stores them; batch norm of those is the pool of its own results",
  run: byRule((graph) => {
    const wanted = wantedOf(graph);
    return (place) => pooling(place, wanted) ?? pooled(place);
  }),
};
