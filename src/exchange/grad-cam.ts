import { gradient } from "../autodiff/gradient.ts";
import { shorten } from "../files/shorten.ts";
import type { BuiltModel } from "../models/build.ts";
import { add, divide, equalOp, multiply, relu } from "../ops/elementwise.ts";
import { apply } from "../ops/op.ts";
import { globalAvgPool, globalMaxPool, max, mean } from "../ops/reduce.ts";
import { constant, reshape } from "../ops/shape.ts";
import { UserError } from "../tensor/errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Grad-CAM (Selvaraju et al., 1610.02391, equations 1 and 2): ReLU(Σ_k mean_ij(g_k)·A_k) over its maximum, g the
 * gradient of Σ seed·logits. logits, seed [N,K], activations [N,C,h,w] → [N,1,h,w].
 */
export function gradCam(logits: Tensor, activations: Tensor, seed: Tensor): Tensor {
  const [g] = gradient(logits, seed, [activations]);
  const map = relu(mean(multiply(activations, globalAvgPool(g)), "channel"));
  const top = globalMaxPool(map);
  // a map of zeros is divided by 1
  return divide(map, add(top, apply(equalOp, [top, constant([1], 0)], null)));
}

/** 1 at the largest logit of each image, else 0. logits [N,K] → [N,K]. */
export function predictedClass(logits: Tensor): Tensor {
  const [n, k] = logits.shape;
  const row = reshape(logits, [n, k, 1, 1]);
  return reshape(apply(equalOp, [row, max(row, "channel")], null), [n, k]);
}

export interface MapLayer {
  readonly name: string;
  /** [N,C,h,w], of more than one pixel. */
  readonly output: Tensor;
}

/**
 * The layer to look at: the one of this name, or the last of those that lie in no other; undefined where none has a
 * map of more than one pixel.
 * @throws UserError with the layers that would do, when the one asked for does not.
 */
export function mapLayer({ nn }: BuiltModel, name?: string): MapLayer | undefined {
  const layers = [...nn.layers]
    .map(([name, output]): MapLayer => ({ name, output }))
    .filter(({ output: { shape } }) => shape.length === 4 && shape[2] * shape[3] > 1);
  const outer = layers.filter(({ name }) => !name.includes("."));
  if (name === undefined) return outer.at(-1);
  const found = layers.find((layer) => layer.name === name);
  if (found) return found;
  const known = outer.map((layer) => layer.name).join(", ") || "none";
  throw new UserError(
    `layer "${shorten(name)}" has no map of more than one pixel: those that do: ${known}, and layers inside them`,
  );
}

/**
 * A map brought to the image's size: bilinear between the centres of pixels, edges clamped, then less its minimum
 * and over its maximum, as pytorch-grad-cam has it.
 * small [h,w] → [H,W].
 */
export function resizeMap(
  small: Float32Array,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
): Float32Array {
  const [rows, columns] = [taps(h, height), taps(w, width)];
  const large = new Float32Array(height * width);
  rows.forEach(([top, bottom, down], y) => {
    columns.forEach(([left, right, across], x) => {
      const at = (row: number, column: number) => small[row * w + column];
      const above = at(top, left) * (1 - across) + at(top, right) * across;
      const below = at(bottom, left) * (1 - across) + at(bottom, right) * across;
      large[y * width + x] = above * (1 - down) + below * down;
    });
  });
  const least = large.reduce((a, b) => Math.min(a, b));
  const most = large.reduce((a, b) => Math.max(a, b)) - least;
  return large.map((value) => (most > 0 ? (value - least) / most : 0));
}

/** For each of `to` positions the two of `from` around it, and the share of the second. */
function taps(from: number, to: number): (readonly [number, number, number])[] {
  return Array.from({ length: to }, (_, i) => {
    const centre = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const first = Math.floor(centre);
    return [first, Math.min(from - 1, first + 1), centre - first];
  });
}
