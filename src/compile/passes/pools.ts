import { topologicalOrder } from "../../autodiff/gradient.ts";
import { batchNormOp } from "../../ops/batch-norm.ts";
import { divideOp, equalOp, multiplyOp, scale, sumToOp } from "../../ops/elementwise.ts";
import {
  type ConvFusedAttrs,
  convFusedOp,
  extremeAlongOp,
  meanAlongOp,
  statisticsAlongOp,
} from "../../ops/fused.ts";
import { apply, nodeOf } from "../../ops/op.ts";
import { maxOp, meanOp, type Over } from "../../ops/reduce.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { type Graph, rootsOf } from "../graph.ts";
import { applied, byRule, type OpNode, type Pass, type Place } from "../rewrite.ts";

/** The batch norm of a convolution's results of which this pools all pixels of each image. */
function pooledNorm({ op, inputs: [z], attrs, output }: Pick<OpNode, "op" | "inputs" | "attrs" | "output">) {
  const [n, c, h, w] = z?.shape ?? [];
  const pools = op.name === meanOp.name || op.name === maxOp.name;
  const over = pools ? (attrs as Over).over === "spatial" : op.name === sumToOp.name;
  const norm =
    over && h * w > 1 && sameShape(output.shape, [n, c, 1, 1]) ? applied(z, batchNormOp) : undefined;
  if (!norm) return undefined;
  const conv = applied(norm.inputs[0], convFusedOp);
  return conv && applied(norm.inputs[1], statisticsAlongOp)?.inputs[0] === conv.output ? norm : undefined;
}

/** What is asked for of a convolution: of the pixel with the largest value γ tells which it is. */
interface Wanted {
  mean: boolean;
  gamma?: Tensor;
}

function wantedOf(graph: Graph): Map<Tensor, Wanted> {
  const wanted = new Map<Tensor, Wanted>();
  for (const x of topologicalOrder(rootsOf(graph))) {
    const node = nodeOf(x);
    const norm = node && pooledNorm(node);
    if (!norm) continue;
    const [conv, , gamma] = norm.inputs;
    const asked = wanted.get(conv) ?? { mean: false };
    if (node.op.name !== maxOp.name) asked.mean = true;
    else if (!nodeOf(gamma)) asked.gamma ??= gamma;
    wanted.set(conv, asked);
  }
  return wanted;
}

/** The convolution takes them along. */
function pooling({ op, inputs, attrs, old }: Place, wanted: ReadonlyMap<Tensor, Wanted>): Tensor | undefined {
  const asked = op.name === convFusedOp.name ? wanted.get(old) : undefined;
  if (!asked) return undefined;
  const { mean, gamma } = asked;
  const also = { mean, extreme: gamma !== undefined };
  return apply(convFusedOp, [...inputs, ...(gamma ? [gamma] : [])], {
    ...(attrs as ConvFusedAttrs),
    ...also,
  });
}

/** mean(batch_norm(y)) = batch_norm(mean(y)); max(batch_norm(y)) = batch_norm(max(y)), or of the minimum where γ < 0. */
function pooled(place: Place): Tensor | undefined {
  const norm = pooledNorm(place);
  if (!norm) return undefined;
  const [y, ...rest] = norm.inputs;
  const { attrs, inputs } = applied(y, convFusedOp)!;
  const of = (x: Tensor) => apply(batchNormOp, [x, ...rest], norm.attrs);
  if (place.op.name !== maxOp.name) {
    const mean = of(apply(meanAlongOp, [y], { over: "spatial" }));
    const [, , h, w] = y.shape;
    return place.op.name === sumToOp.name ? scale(mean, h * w) : mean;
  }
  const gamma = inputs.at(-1)!;
  return attrs.extreme && gamma === rest[1] ? of(apply(extremeAlongOp, [y, gamma], null)) : undefined;
}

/** Σ_p equal(y, max)·x̂ / Σ_p equal(y, max), the mean of x̂ over the pixels with the largest y, is x̂ of the extreme. */
function extremeHat({ op, inputs: [sum, winners] }: Place): Tensor | undefined {
  if (op.name !== divideOp.name) return undefined;
  const equal = applied(applied(winners, sumToOp)?.inputs[0], equalOp);
  const [values, hat] = applied(applied(sum, sumToOp)?.inputs[0], multiplyOp)?.inputs ?? [];
  if (!equal || values !== equal.output) return undefined;
  const [y, pool, norm] = [...equal.inputs, hat].map((x) => applied(x, batchNormOp));
  if (!y || !pool || !norm) return undefined;
  const [x, statistics, ...affine] = y.inputs;
  const [extreme, ...rest] = pool.inputs;
  const same = [statistics, ...affine].every((input, k) => input === rest[k]);
  if (!same || applied(extreme, extremeAlongOp)?.inputs[0] !== x) return undefined;
  if (norm.inputs[0] !== x || norm.inputs[1] !== statistics) return undefined;
  return apply(batchNormOp, [extreme, ...norm.inputs.slice(1)], norm.attrs);
}

export const poolsAlong: Pass = {
  name: "pools along",
  summary:
    "a convolution takes mean and extreme of each image's results while it stores them; batch norm of those is the pool of its own results",
  run: byRule((graph) => {
    const wanted = wantedOf(graph);
    return (place) => pooling(place, wanted) ?? pooled(place) ?? extremeHat(place);
  }),
};
