import { ShapeError } from "../tensor/errors.ts";
import type { Shape, Tensor } from "../tensor/tensor.ts";
import { apply, defineOp, expectSame } from "./op.ts";
import { forEachTap, type Window2d, windowExtent } from "./window.ts";

const pooledShape = (op: string, x: Shape, window: Window2d): Shape => {
  const extent = windowExtent(op, x, window);
  if (window.padding.some((padding, axis) => 2 * padding > window.kernel[axis])) {
    throw new ShapeError(
      op,
      `padding ${window.padding.join("×")} is more than half of window ${window.kernel.join("×")}`,
    );
  }
  return [x[0], x[1], ...extent];
};

/** Dimensions as the kernels take them: N C IH IW OH OW KH KW SH SW PH PW. */
const dims = (x: Shape, y: Shape, { kernel, stride, padding }: Window2d) => [
  ...[x[0], x[1], x[2], x[3], y[2], y[3]],
  ...[...kernel, ...stride, ...padding],
];

function forEachPooled(x: Shape, y: Shape, window: Window2d, visit: (xi: number, yi: number) => void): void {
  const maps = x[0] * x[1];
  forEachTap([x[2], x[3]], [y[2], y[3]], window, (inputPixel, outputPixel) => {
    for (let map = 0; map < maps; map++)
      visit(map * x[2] * x[3] + inputPixel, map * y[2] * y[3] + outputPixel);
  });
}

/** Largest value of each window; padding never wins, NaN does. x [N,C,H,W] → [N,C,OH,OW]. */
export const maxPool2dOp = defineOp<Window2d>({
  name: "max_pool2d",
  shape: ([x], window) => pooledShape("max_pool2d", x, window),
  vjp: (dy, { inputs: [x], attrs }) => [apply(maxPool2dGradOp, [dy, x], attrs)],
  reference: ({ inputs: [x], shapes: [xs], attrs, output, outputShape }) => {
    output.fill(-Infinity);
    forEachPooled(xs, outputShape, attrs, (xi, yi) => {
      if (x[xi] > output[yi] || Number.isNaN(x[xi])) output[yi] = x[xi];
    });
  },
  native: ({ inputs: [x], attrs, output }) => ({
    kernel: "max_pool2d",
    params: dims(x.shape, output.shape, attrs),
  }),
});

/** dy goes to the first largest value of each window, in reading order. dy [N,C,OH,OW], x [N,C,H,W] → [N,C,H,W]. */
export const maxPool2dGradOp = defineOp<Window2d>({
  name: "max_pool2d_grad",
  shape: ([dy, x], window) => {
    expectSame("max_pool2d_grad", "dy", dy, pooledShape("max_pool2d_grad", x, window));
    return x;
  },
  vjp: null,
  reference: ({ inputs: [dy, x], shapes: [ys, xs], attrs, output }) => {
    output.fill(0);
    const best = new Float64Array(dy.length).fill(-Infinity);
    const winner = new Int32Array(dy.length).fill(-1);
    forEachPooled(xs, ys, attrs, (xi, yi) => {
      if (winner[yi] < 0 || x[xi] > best[yi] || Number.isNaN(x[xi])) {
        best[yi] = x[xi];
        winner[yi] = xi;
      }
    });
    winner.forEach((xi, yi) => {
      output[xi] += dy[yi];
    });
  },
  native: ({ inputs: [dy, x], attrs }) => ({
    kernel: "max_pool2d_grad",
    params: dims(x.shape, dy.shape, attrs),
  }),
});

/** Mean of each window; padding counts as zeros. x [N,C,H,W] → [N,C,OH,OW]. */
export const avgPool2dOp = defineOp<Window2d>({
  name: "avg_pool2d",
  shape: ([x], window) => pooledShape("avg_pool2d", x, window),
  vjp: (dy, { inputs: [x], attrs }) => [apply(avgPool2dGradOp, [dy], { ...attrs, input: x.shape })],
  reference: ({ inputs: [x], shapes: [xs], attrs, output, outputShape }) => {
    output.fill(0);
    const area = attrs.kernel[0] * attrs.kernel[1];
    forEachPooled(xs, outputShape, attrs, (xi, yi) => {
      output[yi] += x[xi] / area;
    });
  },
  native: ({ inputs: [x], attrs, output }) => ({
    kernel: "avg_pool2d",
    params: dims(x.shape, output.shape, attrs),
  }),
});

/** Adjoint of avg_pool2d: dy [N,C,OH,OW] → [N,C,H,W]. */
export const avgPool2dGradOp = defineOp<Window2d & { input: Shape }>({
  name: "avg_pool2d_grad",
  shape: ([dy], { input, ...window }) => {
    expectSame("avg_pool2d_grad", "dy", dy, pooledShape("avg_pool2d_grad", input, window));
    return input;
  },
  vjp: null,
  reference: ({ inputs: [dy], shapes: [ys], attrs, output, outputShape }) => {
    output.fill(0);
    const area = attrs.kernel[0] * attrs.kernel[1];
    forEachPooled(outputShape, ys, attrs, (xi, yi) => {
      output[xi] += dy[yi] / area;
    });
  },
  native: ({ inputs: [dy], attrs, output }) => ({
    kernel: "avg_pool2d_grad",
    params: dims(output.shape, dy.shape, attrs),
  }),
});

export interface PoolOptions {
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
}

const square = ({ kernel, stride = kernel, padding = 0 }: PoolOptions): Window2d => ({
  kernel: [kernel, kernel],
  stride: [stride, stride],
  padding: [padding, padding],
});

export const maxPool2d = (x: Tensor, options: PoolOptions) => apply(maxPool2dOp, [x], square(options));
export const avgPool2d = (x: Tensor, options: PoolOptions) => apply(avgPool2dOp, [x], square(options));
