import { add, divide, multiply, relu, scale, sumTo } from "../ops/elementwise.ts";
import { mean } from "../ops/reduce.ts";
import { constant } from "../ops/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** [N,C,h,w] → [N,1,h,w]. */
export const sumChannels = (x: Tensor) => sumTo(x, [x.shape[0], 1, x.shape[2], x.shape[3]]);

/** [N,C,h,w] → [N,C,1,1]. */
export const sumPixels = (x: Tensor) => sumTo(x, [x.shape[0], x.shape[1], 1, 1]);

export const meanPixels = (x: Tensor) => mean(x, "spatial");

/** Σₖ wₖ·Aₖ: weights [N,C,1,1], activations [N,C,h,w] → [N,1,h,w]. */
export const weighted = (weights: Tensor, activations: Tensor) => sumChannels(multiply(weights, activations));

export const magnitude = (x: Tensor) => add(relu(x), relu(scale(x, -1)));

/** x/(y + ε). */
export const ratio = (x: Tensor, y: Tensor, epsilon: number) =>
  divide(x, add(y, constant(new Array<number>(y.shape.length).fill(1), epsilon)));
