import { batchNormGradSumsOp, batchNormOp, stackOp } from "../../ops/batch-norm.ts";
import {
  add,
  addOp,
  broadcastToOp,
  divide,
  divideOp,
  equalOp,
  multiply,
  multiplyOp,
  scale,
  scaleOp,
  selectEqualOp,
  sumTo,
  sumToOp,
} from "../../ops/elementwise.ts";
import { apply } from "../../ops/op.ts";
import { mean } from "../../ops/reduce.ts";
import { reshape } from "../../ops/shape.ts";
import { type Shape, sameShape, type Tensor } from "../../tensor/tensor.ts";
import { applied, byRule, type Pass, type Place } from "../rewrite.ts";
import { normalized } from "./normalized.ts";

/**
 * A term `values`·`rate` of a gradient [N,C,H,W], the rate [N,C,1,1]. A `share` is what some pixels of an image get of a
 * whole [N,C,1,1]: all of them, or `winners`, so many, where values are 1 and not 0.
 */
type Term =
  | { readonly values: Tensor; readonly rate: Tensor }
  | { readonly whole: Tensor; readonly winners: Tensor; readonly values: Tensor }
  | { readonly whole: Tensor; readonly values?: undefined };

const perImage = ([n, c]: Shape): Shape => [n, c, 1, 1];

/** x times a factor: what x is 1/factor of, if it is. */
function scaled(x: Tensor, factor: number): Tensor {
  const part = applied(x, scaleOp);
  return part && part.attrs.factor * factor === 1 ? part.inputs[0] : scale(x, factor);
}

const vector = (v: Tensor) => reshape(v, [1, v.shape[0], 1, 1]);

/** The terms of a sum, when all of them are of that form. */
function termsOf(x: Tensor): Term[] | undefined {
  const isRate = (y: Tensor) => sameShape(y.shape, perImage(x.shape));
  const parts = applied(x, addOp)?.inputs;
  if (parts) {
    const terms = parts.map((part) => (sameShape(part.shape, x.shape) ? termsOf(part) : undefined));
    return terms.every((known) => known !== undefined) ? terms.flat() : undefined;
  }
  const factors = applied(x, multiplyOp)?.inputs;
  if (factors) {
    const rate = factors.find(isRate);
    const values = factors.find((y) => sameShape(y.shape, x.shape));
    return rate && values && [{ values, rate }];
  }
  const [repeated] = applied(x, broadcastToOp)?.inputs ?? [];
  if (repeated) return isRate(repeated) ? [{ whole: scaled(repeated, x.shape[2] * x.shape[3]) }] : undefined;
  const [y, maximum, share] = applied(x, selectEqualOp)?.inputs ?? [];
  if (!y || !isRate(maximum) || !isRate(share)) return undefined;
  const values = apply(equalOp, [y, maximum], null);
  const [whole, winners] = applied(share, divideOp)?.inputs ?? [];
  const counted = applied(applied(winners, sumToOp)?.inputs[0], equalOp);
  const shared = counted?.inputs[0] === y && counted.inputs[1] === maximum;
  return [shared ? { whole, winners, values } : { values, rate: share }];
}

/**
 * batch_norm_grad_sums of Σ values·rate: rates do not change over an image, so Σdy = Σ_n rate·Σ_p values and
 * Σdy·x̂ = Σ_n rate·Σ_p values·x̂, which attention needs anyway for its gates. Shares add up to the whole, and the whole
 * goes with the mean of x̂ over those it is shared among.
 */
function sumsOfTerms({ op, inputs: [dy, x, statistics], attrs }: Place): Tensor | undefined {
  if (op.name !== batchNormGradSumsOp.name) return undefined;
  const terms = termsOf(dy);
  if (!terms?.some(({ values }) => values)) return undefined;
  const [, c] = x.shape;
  const image = perImage(x.shape);
  const hat = normalized(x, statistics, (attrs as { eps: number }).eps);
  // the sums of shares wait for the wholes, the others do not
  const groups = [terms.filter((t) => !("whole" in t)), terms.filter((t) => "whole" in t)];
  const total = (of: (term: Term) => Tensor) => {
    const sums = groups.filter((group) => group.length > 0).map((group) => group.map(of).reduce(add));
    return reshape(sums.map((sum) => sumTo(sum, [1, c, 1, 1])).reduce(add), [c]);
  };
  const withHat = (values: Tensor) => sumTo(multiply(values, hat), image);
  const sums = total((t) => ("whole" in t ? t.whole : multiply(t.rate, sumTo(t.values, image))));
  const products = total((t) => {
    if (!("whole" in t)) return multiply(t.rate, withHat(t.values));
    return multiply(t.whole, t.values ? divide(withHat(t.values), t.winners) : mean(hat, "spatial"));
  });
  return apply(stackOp, [sums, products], null);
}

/** Σ_p u·batch_norm(x) = γ·Σ_p u·x̂ + β·Σ_p u: a gate's gradient, from the same sums. */
function sumOfProduct({ op, inputs: [product], output }: Place): Tensor | undefined {
  if (op.name !== sumToOp.name || product.shape.length !== 4) return undefined;
  const image = perImage(product.shape);
  if (!sameShape(output.shape, image) || sameShape(product.shape, image)) return undefined;
  const factors = applied(product, multiplyOp)?.inputs;
  const y = factors?.find((factor) => applied(factor, batchNormOp));
  const u = factors?.find((factor) => factor !== y);
  if (!y || !u || !sameShape(u.shape, product.shape)) return undefined;
  const { inputs, attrs } = applied(y, batchNormOp)!;
  const [x, statistics, gamma, beta] = inputs;
  const hat = normalized(x, statistics, attrs.eps);
  return add(
    multiply(sumTo(multiply(u, hat), image), vector(gamma)),
    multiply(sumTo(u, image), vector(beta)),
  );
}

export const sumByImage: Pass = {
  name: "sums by image",
  summary:
    "where a gradient is gated by image and channel, batch norm's sums and the gate's gradient come from the same sums over pixels",
  run: byRule(() => (place) => sumsOfTerms(place) ?? sumOfProduct(place)),
};
