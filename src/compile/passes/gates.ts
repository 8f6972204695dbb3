import { topologicalOrder } from "../../autodiff/gradient.ts";
import { batchNormOp } from "../../ops/batch-norm.ts";
import { add, addOp, equalOp, multiply, multiplyOp, sumToOp } from "../../ops/elementwise.ts";
import {
  type InputGradFusedAttrs,
  imageSumsAlongOp,
  inputGradFusedOp,
  inputGradParts,
  pixelSumsAlongOp,
} from "../../ops/fused.ts";
import { apply, nodeOf } from "../../ops/op.ts";
import { sameShape, type Tensor } from "../../tensor/tensor.ts";
import { type Graph, rootsOf } from "../graph.ts";
import { sumOntoOp } from "../region-program.ts";
import { applied, byRule, type Pass, type Place } from "../rewrite.ts";
import { hatOf } from "./normalized.ts";

/** The input gradient a tensor is, if it may sum more. */
const gradient = (x: Tensor) => {
  const node = applied(x, inputGradFusedOp);
  return node && node.attrs.mask !== "norm" ? x : undefined;
};

/** A factor of a product and the other one; x itself is a product with nothing. */
function factors(x: Tensor): readonly (readonly [Tensor, Tensor?])[] {
  const [a, b] = applied(x, multiplyOp)?.inputs ?? [];
  return a && b ? [[a, b], [b, a], [x]] : [[x]];
}

/** g, or g times a gate of its pixels, and what else is added. */
interface Split {
  readonly g: Tensor;
  readonly gate?: Tensor;
  readonly rest: readonly Tensor[];
}

function splitOf(x: Tensor): Split | undefined {
  const terms = (sum: Tensor): Tensor[] => applied(sum, addOp)?.inputs.flatMap(terms) ?? [sum];
  const all = terms(x);
  for (const [at, term] of all.entries()) {
    for (const [g, gate] of factors(term)) {
      if (!gradient(g)) continue;
      const [n, , h, w] = g.shape;
      const rest = all.filter((_, k) => k !== at);
      if (!gate || sameShape(gate.shape, [n, 1, h, w])) return { g, gate, rest };
    }
  }
  return undefined;
}

type Sum = Split & { readonly hat?: NonNullable<ReturnType<typeof hatOf>> };

/** What a sum over the pixels of each image is taken of, where an input gradient is part of it. */
function imageSum({ op, inputs: [x], output }: Pick<Place, "op" | "inputs" | "output">): Sum | undefined {
  if (op.name !== sumToOp.name || x.shape.length !== 4) return undefined;
  const [n, c, h, w] = x.shape;
  if (h * w === 1 || !sameShape(output.shape, [n, c, 1, 1])) return undefined;
  for (const [values, other] of factors(x)) {
    const hat = hatOf(other);
    const split = !other || hat ? splitOf(values) : undefined;
    if (split) return { ...split, hat };
  }
  return undefined;
}

/** Σ_c g·a·batch_norm(x), the gradient of a gate of pixels. */
function pixelSum({ op, inputs: [x], output }: Pick<Place, "op" | "inputs" | "output">) {
  if (op.name !== sumToOp.name || x.shape.length !== 4) return undefined;
  const [n, c, h, w] = x.shape;
  if (c === 1 || !sameShape(output.shape, [n, 1, h, w])) return undefined;
  for (const [g, gated] of factors(x)) {
    if (!gated || !gradient(g)) continue;
    for (const [y, a] of factors(gated)) {
      const norm = applied(y, batchNormOp);
      if (norm && a && sameShape(a.shape, [n, c, 1, 1])) return { g, gated, norm, a };
    }
  }
  return undefined;
}

/** How many channels have the largest of their pixel's values, Σ_c equal(u, largest): max's gradient is shared among them. */
function tieSum({ op, inputs: [x], output }: Pick<Place, "op" | "inputs" | "output">) {
  const equal = op.name === sumToOp.name ? applied(x, equalOp) : undefined;
  const [u, largest] = equal?.inputs ?? [];
  return u && largest && sameShape(largest.shape, output.shape) && largest.shape[1] === 1 && u.shape[1] > 1
    ? { u, largest }
    : undefined;
}

/** What is summed of one input gradient. */
interface Found {
  values?: Sum;
  products?: Sum;
  pixels?: NonNullable<ReturnType<typeof pixelSum>>;
  ties?: { readonly sum: Tensor; readonly largest: Tensor };
}

/** The sums of all input gradients of which all that an attention gate needs is asked for, of one batch norm. */
function gatesOf(graph: Graph): Map<Tensor, Found> {
  const found = new Map<Tensor, Found>();
  const gradientOf = new Map<Tensor, Tensor>(); // of gated values
  const of = (g: Tensor) => found.get(g) ?? found.set(g, {}).get(g)!;
  for (const x of topologicalOrder(rootsOf(graph))) {
    const node = nodeOf(x);
    if (!node) continue;
    const sum = imageSum(node);
    if (sum) of(sum.g)[sum.hat ? "products" : "values"] ??= sum;
    const pixels = pixelSum(node);
    if (pixels && !of(pixels.g).pixels) {
      of(pixels.g).pixels = pixels;
      gradientOf.set(pixels.gated, pixels.g);
    }
    // they know nothing of a gradient: the one that counts them gates the same values, and was met before
    const ties = tieSum(node);
    const g = ties && gradientOf.get(ties.u);
    if (g) of(g).ties ??= { sum: x, largest: ties.largest };
  }
  for (const [g, { values, products, pixels, ties }] of found) {
    const { sums, eps } = applied(g, inputGradFusedOp)!.attrs;
    const alike = !sums || products?.hat?.attrs.eps === eps;
    const same = alike && values && products && values.gate === products.gate;
    const [x, statistics] = products?.hat?.inputs ?? [];
    const gated = pixels && ties && pixels.norm.inputs[0] === x && pixels.norm.inputs[1] === statistics;
    if (!same || (values.gate && !gated)) found.delete(g);
  }
  return found;
}

/** The input gradient sums along. */
function summing(
  { op, inputs, attrs, old, now }: Place,
  found: ReadonlyMap<Tensor, Found>,
): Tensor | undefined {
  const sums = op.name === inputGradFusedOp.name ? found.get(old) : undefined;
  if (!sums) return undefined;
  const { gate, hat } = sums.products!;
  const [x, statistics] = hat!.inputs;
  const gated = gate ? [...sums.pixels!.norm.inputs.slice(2), sums.pixels!.a, gate, sums.ties!.largest] : [];
  const more = [x, statistics, ...gated].map(now);
  if (more.some((tensor) => !tensor)) return undefined;
  return apply(inputGradFusedOp, [...inputs, ...(more as Tensor[])], {
    ...(attrs as InputGradFusedAttrs),
    images: gate ? "gated" : "sums",
    eps: hat!.attrs.eps,
  });
}

const partsOf = (g: Tensor) => {
  const node = applied(g, inputGradFusedOp)!;
  return { ...node.attrs, ...inputGradParts(node.inputs, node.attrs) };
};

/** Σ_p (g·s + rest)·x̂: the first is there, the rest is summed by itself. */
function imageSums(place: Place): Tensor | undefined {
  const sum = imageSum(place);
  if (!sum) return undefined;
  const { images, beside, besideStatistics, byPixel, eps } = partsOf(sum.g);
  const { hat, gate, rest } = sum;
  const fits =
    images !== "none" &&
    gate === byPixel &&
    (!hat || (hat.inputs[0] === beside && hat.inputs[1] === besideStatistics));
  if (!fits) return undefined;
  const inputs = [sum.g, beside!, besideStatistics!, ...(gate ? [gate] : [])];
  const along = apply(imageSumsAlongOp, inputs, { normalized: hat !== undefined, eps });
  if (rest.length === 0) return along;
  const others = rest.reduce(add);
  return apply(sumOntoOp, [hat ? multiply(others, hat.output) : others, along], null);
}

function pixelSums(place: Place): Tensor | undefined {
  const sum = pixelSum(place);
  if (!sum) return undefined;
  const { images, beside, besideStatistics, gamma, beta, byChannel, eps } = partsOf(sum.g);
  const given = [beside, besideStatistics, gamma, beta];
  if (images !== "gated" || sum.a !== byChannel || sum.norm.inputs.some((y, k) => y !== given[k]))
    return undefined;
  return apply(pixelSumsAlongOp, [sum.g, ...sum.norm.inputs, sum.a], { of: "gradient", eps });
}

function tieSums({ old, now }: Place, gradients: ReadonlyMap<Tensor, Tensor>): Tensor | undefined {
  const counting = gradients.get(old);
  const g = counting && now(counting);
  if (!g) return undefined;
  const { images, beside, besideStatistics, gamma, beta, byChannel, largest, eps } = partsOf(g);
  const inputs = [g, beside, besideStatistics, gamma, beta, byChannel, largest] as Tensor[];
  return images === "gated" ? apply(pixelSumsAlongOp, inputs, { of: "ties", eps }) : undefined;
}

export const gatesAlong: Pass = {
  name: "gates along",
  summary:
    "an input gradient takes the sums that the gates of an attention module need, and batch norm before them, while it stores",
  run: byRule((graph) => {
    const found = gatesOf(graph);
    const counting = new Map([...found].flatMap(([g, { ties }]) => (ties ? [[ties.sum, g]] : [])));
    return (place) =>
      summing(place, found) ?? imageSums(place) ?? pixelSums(place) ?? tieSums(place, counting);
  }),
};
