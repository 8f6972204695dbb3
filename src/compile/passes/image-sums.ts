import { batchNormGradSumsOp, batchNormOp, stackOp } from "../../ops/batch-norm.ts";
import {
  add,
  addOp,
  broadcastToOp,
  equalOp,
  multiply,
  multiplyOp,
  scale,
  selectEqualOp,
  sumTo,
  sumToOp,
} from "../../ops/elementwise.ts";
import { apply } from "../../ops/op.ts";
import { constant, reshape } from "../../ops/shape.ts";
import { type Shape, sameShape, type Tensor } from "../../tensor/tensor.ts";
import { applied, byRule, type Pass, type Place } from "../rewrite.ts";

/** A term `values`·`rate` of a gradient [N,C,H,W], the rate [N,C,1,1]; without values they are 1. */
interface Term {
  readonly values?: Tensor;
  readonly rate: Tensor;
}

const perImage = ([n, c]: Shape): Shape => [n, c, 1, 1];

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
  if (repeated) return isRate(repeated) ? [{ rate: repeated }] : undefined;
  const [y, maximum, share] = applied(x, selectEqualOp)?.inputs ?? [];
  if (!y || !isRate(maximum) || !isRate(share)) return undefined;
  return [{ values: apply(equalOp, [y, maximum], null), rate: share }];
}

/** x̂: batch normalisation without γ and β. */
function normalized(x: Tensor, statistics: Tensor, eps: number): Tensor {
  const channels = [x.shape[1]];
  return apply(batchNormOp, [x, statistics, constant(channels, 1), constant(channels, 0)], { eps });
}

/**
 * batch_norm_grad_sums of Σ values·rate: rates do not change over an image, so Σdy = Σ_n rate·Σ_p values and
 * Σdy·x̂ = Σ_n rate·Σ_p values·x̂, which attention needs anyway for its gates.
 */
function sumsOfTerms({ op, inputs: [dy, x, statistics], attrs }: Place): Tensor | undefined {
  if (op.name !== batchNormGradSumsOp.name) return undefined;
  const terms = termsOf(dy);
  if (!terms?.some(({ values }) => values)) return undefined;
  const [, c, h, w] = x.shape;
  const image = perImage(x.shape);
  const hat = normalized(x, statistics, (attrs as { eps: number }).eps);
  const total = (parts: readonly Tensor[]) => reshape(sumTo(parts.reduce(add), [1, c, 1, 1]), [c]);
  const sums = terms.map(({ values, rate }) =>
    values ? multiply(rate, sumTo(values, image)) : scale(rate, h * w),
  );
  const products = terms.map(({ values, rate }) =>
    multiply(rate, sumTo(values ? multiply(values, hat) : hat, image)),
  );
  return apply(stackOp, [total(sums), total(products)], null);
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
