import { topologicalOrder } from "../../autodiff/gradient.ts";
import { inputSumsAlongOp, weightGradOfAffineOp } from "../../ops/affine-layer.ts";
import { batchNormOp } from "../../ops/batch-norm.ts";
import { conv2dInputGradOp, conv2dWeightGradOp } from "../../ops/conv.ts";
import { add, addOp, multiplyOp, sumTo, sumToOp } from "../../ops/elementwise.ts";
import { weightGradOfNormOp } from "../../ops/fused.ts";
import { apply, nodeOf, type Op } from "../../ops/op.ts";
import {
  inputGradPairAlongOp,
  inputGradPairOp,
  weightGradOfNormPairOp,
  weightGradPairOp,
} from "../../ops/pairs.ts";
import { reshape, row } from "../../ops/shape.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { type Graph, rootsOf } from "../graph.ts";
import { applied, byRule, type OpNode, type Pass, type Place } from "../rewrite.ts";
import { hatOf } from "./normalized.ts";
import { meetsPools } from "./pooled.ts";

type WeightGradAttrs = Parameters<typeof conv2dWeightGradOp.shape>[1];

type Norm = NonNullable<ReturnType<typeof hatOf>>;

/** The weight gradient of a layer of pools, all made by the same batch norm; and the gradients of its results. */
interface Layer {
  readonly gradient: Tensor;
  readonly norms: readonly Norm[];
  readonly dys: readonly Tensor[];
}

function layerOf(node: OpNode): Layer | undefined {
  const { op, inputs, output } = node;
  if (op.name !== conv2dWeightGradOp.name && op.name !== weightGradPairOp.name) return undefined;
  const xs = inputs.filter((_, k) => k % 2 === 0);
  const norms = xs.flatMap((x) => applied(x, batchNormOp) ?? []);
  if (norms.length < xs.length || !meetsPools(node)) return undefined;
  const [first, ...others] = norms;
  const alike = others.every(
    ({ inputs: [, ...given], attrs }) =>
      attrs.eps === first.attrs.eps && given.every((y, k) => y === first.inputs[k + 1]),
  );
  return alike ? { gradient: output, norms, dys: inputs.filter((_, k) => k % 2 === 1) } : undefined;
}

const kinds = [
  { op: conv2dInputGradOp, dy: 0 },
  { op: inputGradPairOp, dy: 0 },
  { op: inputGradPairAlongOp, dy: 1 },
] as readonly { op: Op; dy: number }[];

/** What an input gradient of a layer of pools is made of. */
function dxOf(x: Tensor): { readonly dy: Tensor; readonly weight: Tensor } | undefined {
  const node = nodeOf(x);
  const at = node && kinds.find(({ op }) => op.name === node.op.name);
  return at && meetsPools(node) ? { dy: node.inputs[at.dy], weight: node.inputs[at.dy + 1] } : undefined;
}

/** Σ_n Σ dx or Σ_n Σ dx·x̂ over all input gradients of one layer. */
interface Sum {
  readonly weight: Tensor;
  readonly dys: readonly Tensor[];
  readonly hats?: readonly Norm[];
}

function sumOf({ op, inputs: [x], output }: Pick<OpNode, "op" | "inputs" | "output">): Sum | undefined {
  if (op.name !== sumToOp.name || !sameShape(output.shape, [1, x.shape[1], 1, 1])) return undefined;
  const terms = (sum: Tensor): Tensor[] => applied(sum, addOp)?.inputs.flatMap(terms) ?? [sum];
  const found = terms(x).map((term) => {
    const factors = applied(term, multiplyOp)?.inputs ?? [];
    const hat = hatOf(factors.find(hatOf));
    const dx = dxOf(hat ? factors.find((factor) => factor !== hat.output)! : term);
    return dx && { ...dx, hat };
  });
  if (!found.every((term) => term !== undefined)) return undefined;
  const [{ weight }] = found;
  if (found.some((term) => term.weight !== weight)) return undefined;
  const hats = found.flatMap(({ hat }) => hat ?? []);
  if (hats.length > 0 && hats.length < found.length) return undefined;
  return { weight, dys: found.map(({ dy }) => dy), hats: hats.length > 0 ? hats : undefined };
}

/** Whether a sum is over what the layer meets, each once, and that is more than its weights. */
function fits({ norms, dys }: Layer, sum: Sum): boolean {
  const [images, results] = dys[0].shape;
  if (results >= images * dys.length) return false;
  const places = sum.dys.map((dy) => dys.indexOf(dy));
  const once = places.length === dys.length && dys.every((_, k) => places.includes(k));
  const alike = sum.hats?.every(({ inputs: [x, statistics], attrs: { eps } }, k) => {
    const norm = norms[places[k]];
    return norm?.inputs[0] === x && norm.inputs[1] === statistics && norm.attrs.eps === eps;
  });
  return once && (alike ?? true);
}

/** Both sums of one layer, and γ and β of x̂. */
interface Found {
  readonly weight: Tensor;
  dx?: Tensor;
  products?: Tensor;
  hat?: readonly Tensor[];
}

function sumsOf(graph: Graph): Map<Tensor, Found> {
  const order = topologicalOrder(rootsOf(graph)).flatMap((x) => nodeOf(x) ?? []);
  const layers = new Map(order.flatMap((node) => layerOf(node) ?? []).map((layer) => [layer.dys[0], layer]));
  const found = new Map<Tensor, Found>();
  for (const node of order) {
    const sum = sumOf(node);
    const layer = sum?.dys.map((dy) => layers.get(dy)).find((of) => of !== undefined);
    if (!sum || !layer || !fits(layer, sum)) continue;
    const known = found.get(layer.gradient) ?? { weight: sum.weight };
    if (known.weight === sum.weight) known[sum.hats ? "products" : "dx"] ??= node.output;
    known.hat ??= sum.hats?.[0].inputs.slice(2);
    found.set(layer.gradient, known);
  }
  for (const [gradient, { dx, products }] of found) if (!dx || !products) found.delete(gradient);
  return found;
}

/** The layer's weight gradient from that in x̂. */
function affine(place: Place, found: ReadonlyMap<Tensor, Found>): Tensor | undefined {
  const sums = found.get(place.old);
  const layer = sums && layerOf(place);
  if (!layer) return undefined;
  const [norm, other] = layer.norms;
  const [x, statistics, gamma, beta] = norm.inputs;
  const [dy, otherDy] = layer.dys;
  const hat = [x, statistics, ...sums.hat!, dy];
  const attrs = { ...(place.attrs as WeightGradAttrs), eps: norm.attrs.eps, relu: false };
  const g = other
    ? apply(weightGradOfNormPairOp, [...hat, other.inputs[0], otherDy], attrs)
    : apply(weightGradOfNormOp, hat, attrs);
  const d = sumTo(layer.dys.reduce(add), [1, dy.shape[1], 1, 1]);
  return apply(weightGradOfAffineOp, [g, sums.weight, d, gamma, beta], null);
}

export const sumByWeights: Pass = {
  name: "sums by weights",
  summary:
    "what batch norm sums over a layer's input gradient comes from the layer's weights and their gradient, which are smaller",
  run: byRule((graph) => {
    const found = sumsOf(graph);
    const gradientOf = new Map(
      [...found].flatMap(([gradient, { dx, products }]) => [
        [dx!, gradient] as const,
        [products!, gradient] as const,
      ]),
    );
    const along = new Map<Tensor, Tensor>();
    const sums = ({ old, output, ahead }: Place): Tensor | undefined => {
      const layer = gradientOf.get(old);
      if (!layer) return undefined;
      const main = ahead(layer);
      if (!along.has(main)) {
        along.set(main, apply(inputSumsAlongOp, [main, ...nodeOf(main)!.inputs.slice(0, 3)], null));
      }
      return reshape(row(along.get(main)!, old === found.get(layer)!.dx ? 0 : 1), output.shape);
    };
    return (place) => affine(place, found) ?? sums(place);
  }),
};
