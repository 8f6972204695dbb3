import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { apply, defineOp, expectLayout, expectRank, expectSame, type Op } from "./op.ts";
import { type Window2d, windowExtent } from "./window.ts";

export interface Conv2dOptions {
  readonly stride?: number | readonly [number, number];
  /** Zeros added on both sides; half the kernel by default. */
  readonly padding?: number | readonly [number, number];
}

type ConvAttrs = Pick<Window2d, "stride" | "padding">;

const windowOf = (w: Shape, attrs: ConvAttrs): Window2d => ({ ...attrs, kernel: [w[2], w[3]] });

/** Dimensions as the kernels take them: N IC OC IH IW OH OW KH KW SH SW PH PW; flags (and ε) follow. */
const dims = (x: Shape, w: Shape, y: Shape, { stride, padding }: ConvAttrs) => [
  ...[x[0], x[1], w[0], x[2], x[3], y[2], y[3], w[2], w[3]],
  ...[...stride, ...padding],
];

/**
 * Visits all products of a convolution in runs: one weight wi, `count` outputs side by side from yi on, and the
 * inputs they meet from xi on, the horizontal stride apart. Borders are left out.
 */
function forEachRun(
  [, ic, ih, iw]: Shape,
  [, , kh, kw]: Shape,
  [n, oc, oh, ow]: Shape,
  { stride: [sh, sw], padding: [ph, pw] }: ConvAttrs,
  visit: (xi: number, wi: number, yi: number, count: number) => void,
): void {
  for (let j = 0; j < kw; j++) {
    const first = Math.max(0, Math.ceil((pw - j) / sw));
    const count = Math.min(ow - 1, Math.floor((iw - 1 + pw - j) / sw)) - first + 1;
    if (count <= 0) continue;
    for (let i = 0; i < kh; i++) {
      for (let oy = 0; oy < oh; oy++) {
        const iy = oy * sh + i - ph;
        if (iy < 0 || iy >= ih) continue;
        for (let image = 0; image < n; image++) {
          for (let o = 0; o < oc; o++) {
            const yi = ((image * oc + o) * oh + oy) * ow + first;
            for (let c = 0; c < ic; c++) {
              const xi = ((image * ic + c) * ih + iy) * iw + first * sw + j - pw;
              visit(xi, ((o * ic + c) * kh + i) * kw + j, yi, count);
            }
          }
        }
      }
    }
  }
}

/** Shape of the output [N,O,OH,OW] for x [N,I,H,W] and w [O,I,KH,KW]. */
export function convolvedShape(op: string, x: Shape, w: Shape, attrs: ConvAttrs): Shape {
  expectRank(op, "x", x, 4);
  expectRank(op, "weight", w, 4);
  if (x[1] !== w[1]) {
    throw new ShapeError(op, `weight expects ${w[1]} input channels, x ${showShape(x)} has ${x[1]}`);
  }
  return [x[0], w[0], ...windowExtent(op, x, windowOf(w, attrs))];
}

/** Cross-correlation. x [N,I,H,W], w [O,I,KH,KW] → [N,O,OH,OW]. */
export const conv2dOp = defineOp<ConvAttrs>({
  name: "conv2d",
  shape: ([x, w], attrs) => convolvedShape("conv2d", x, w, attrs),
  layout: "activation",
  vjp: (dy, { inputs: [x, w], attrs }) => [
    apply(conv2dInputGradOp, [dy, w], { ...attrs, input: x.shape }),
    apply(conv2dWeightGradOp, [x, dy], { ...attrs, weight: w.shape }),
  ],
  reference: ({ inputs: [x, w], shapes: [xs, ws], attrs, output, outputShape }) => {
    output.fill(0);
    const [, step] = attrs.stride;
    forEachRun(xs, ws, outputShape, attrs, (xi, wi, yi, count) => {
      const weight = w[wi];
      for (let k = 0; k < count; k++) output[yi + k] += x[xi + k * step] * weight;
    });
  },
  native: ({ inputs: [x, w], attrs, output }) => {
    expectLayout("conv2d", "x", x, "activation");
    expectLayout("conv2d", "weight", w, "kernel");
    return { kernel: "conv2d", params: [...dims(x.shape, w.shape, output.shape, attrs), 0] };
  },
  multiplyAdds: ({ inputs: [, w], output }) => sizeOf(output.shape) * sizeOf(w.shape.slice(1)),
});

/** Adjoint of conv2d in x: dy [N,O,OH,OW], w [O,I,KH,KW] → [N,I,H,W]. */
export const conv2dInputGradOp = defineOp<ConvAttrs & { input: Shape }>({
  name: "conv2d_input_grad",
  shape: ([dy, w], attrs) => {
    expectSame("conv2d_input_grad", "dy", dy, convolvedShape("conv2d_input_grad", attrs.input, w, attrs));
    return attrs.input;
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs: [dy, w], shapes: [ys, ws], attrs, output, outputShape }) => {
    output.fill(0);
    const [, step] = attrs.stride;
    forEachRun(outputShape, ws, ys, attrs, (xi, wi, yi, count) => {
      const weight = w[wi];
      for (let k = 0; k < count; k++) output[xi + k * step] += dy[yi + k] * weight;
    });
  },
  native: ({ inputs: [dy, w], attrs, output }) => {
    expectLayout("conv2d_input_grad", "dy", dy, "activation");
    expectLayout("conv2d_input_grad", "weight", w, "kernel");
    return { kernel: "conv2d_input_grad", params: [...dims(output.shape, w.shape, dy.shape, attrs), 0, 0] };
  },
  multiplyAdds: ({ inputs: [dy, w] }) => sizeOf(dy.shape) * sizeOf(w.shape.slice(1)),
});

/** Adjoint of conv2d in w: x [N,I,H,W], dy [N,O,OH,OW] → [O,I,KH,KW]. */
export const conv2dWeightGradOp = defineOp<ConvAttrs & { weight: Shape }>({
  name: "conv2d_weight_grad",
  shape: ([x, dy], attrs) => {
    expectSame("conv2d_weight_grad", "dy", dy, convolvedShape("conv2d_weight_grad", x, attrs.weight, attrs));
    return attrs.weight;
  },
  layout: "kernel",
  vjp: null,
  reference: ({ inputs: [x, dy], shapes: [xs, ys], attrs, output, outputShape }) => {
    output.fill(0);
    const [, step] = attrs.stride;
    forEachRun(xs, outputShape, ys, attrs, (xi, wi, yi, count) => {
      let sum = 0;
      for (let k = 0; k < count; k++) sum += x[xi + k * step] * dy[yi + k];
      output[wi] += sum;
    });
  },
  native: ({ inputs: [x, dy], attrs, output }) => {
    expectLayout("conv2d_weight_grad", "x", x, "activation");
    expectLayout("conv2d_weight_grad", "dy", dy, "activation");
    return { kernel: "conv2d_weight_grad", params: [...dims(x.shape, output.shape, dy.shape, attrs), 0, 0] };
  },
  multiplyAdds: ({ inputs: [, dy], output }) => sizeOf(dy.shape) * sizeOf(output.shape.slice(1)),
});

/**
 * Convolution along the channels of pooled features, as ECA's gate (Wang et al., 1910.03151) has it.
 * x [N,C,1,1], w [1,1,K], K odd → [N,C,1,1]; `flip` reverses the kernel.
 */
export const channelConvOp: Op<{ flip: boolean }> = defineOp({
  name: "channel_conv",
  shape: ([x, w]) => {
    expectPooled("channel_conv", x);
    if (w.length !== 3 || w[0] !== 1 || w[1] !== 1 || w[2] % 2 === 0) {
      throw new ShapeError("channel_conv", `weight must be [1,1,K] with K odd, has ${showShape(w)}`);
    }
    return x;
  },
  vjp: (dy, { inputs: [x, w], attrs: { flip } }) => [
    apply(channelConvOp, [dy, w], { flip: !flip }),
    apply(channelConvWeightGradOp, [x, dy], { flip, weight: w.shape }),
  ],
  reference: ({ inputs: [x, w], shapes: [[n, c]], attrs: { flip }, output }) => {
    output.fill(0);
    forEachChannelTap(n, c, w.length, flip, (at, source, tap) => {
      output[at] += x[source] * w[tap];
    });
  },
  native: ({ inputs: [x, w], attrs: { flip } }) => ({
    kernel: "channel_conv",
    params: [x.shape[0], x.shape[1], w.shape[2], Number(flip)],
  }),
  multiplyAdds: ({ inputs: [x, w] }) => sizeOf(x.shape) * w.shape[2],
});

/** Adjoint of channel_conv in w: x [N,C,1,1], dy [N,C,1,1] → [1,1,K]. */
export const channelConvWeightGradOp = defineOp<{ flip: boolean; weight: Shape }>({
  name: "channel_conv_weight_grad",
  shape: ([x, dy], { weight }) => {
    expectPooled("channel_conv_weight_grad", x);
    expectSame("channel_conv_weight_grad", "dy", dy, x);
    return weight;
  },
  vjp: null,
  reference: ({ inputs: [x, dy], shapes: [[n, c]], attrs: { flip }, output }) => {
    output.fill(0);
    forEachChannelTap(n, c, output.length, flip, (at, source, tap) => {
      output[tap] += dy[at] * x[source];
    });
  },
  native: ({ inputs: [x], attrs: { flip }, output }) => ({
    kernel: "channel_conv_weight_grad",
    params: [x.shape[0], x.shape[1], output.shape[2], Number(flip)],
  }),
});

function expectPooled(op: string, x: Shape): void {
  if (x.length !== 4 || x[2] !== 1 || x[3] !== 1) {
    throw new ShapeError(op, `x must be pooled features [N,C,1,1], has ${showShape(x)}`);
  }
}

function forEachChannelTap(
  n: number,
  c: number,
  k: number,
  flip: boolean,
  visit: (at: number, source: number, tap: number) => void,
): void {
  for (let image = 0; image < n; image++) {
    for (let channel = 0; channel < c; channel++) {
      for (let tap = 0; tap < k; tap++) {
        const source = channel + (flip ? (k - 1) / 2 - tap : tap - (k - 1) / 2);
        if (source >= 0 && source < c) visit(image * c + channel, image * c + source, tap);
      }
    }
  }
}

const pair = (value: number | readonly [number, number]): readonly [number, number] =>
  typeof value === "number" ? [value, value] : value;

export function conv2d(x: Tensor, w: Tensor, { stride = 1, padding }: Conv2dOptions = {}): Tensor {
  const half: readonly [number, number] = [Math.floor(w.shape[2] / 2), Math.floor(w.shape[3] / 2)];
  return apply(conv2dOp, [x, w], {
    stride: pair(stride),
    padding: padding === undefined ? half : pair(padding),
  });
}

export const channelConv = (x: Tensor, w: Tensor) => apply(channelConvOp, [x, w], { flip: false });
