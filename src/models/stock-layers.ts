import { ones, zeros } from "../nn/initializers.ts";
import { normalize } from "../nn/layers.ts";
import type { Scope } from "../nn/scope.ts";
import { conv2d } from "../ops/conv.ts";
import { add, divide, multiply, relu, scale, sigmoid } from "../ops/elementwise.ts";
import { apply, nodeOf } from "../ops/op.ts";
import { avgPool2dOp, maxPool2dOp } from "../ops/pool.ts";
import { globalAvgPool, globalMaxPool } from "../ops/reduce.ts";
import { concat, constant, type Margins, pad2d, pad2dOp, permute, reshape } from "../ops/shape.ts";
import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import type { Layer, LayerOf } from "./layer-graph.ts";

type Build<L extends Layer> = (layer: L, inputs: readonly Tensor[], nn: Scope) => Tensor;

/** How each kind of layer is computed, every tensor as [N,C,H,W]; `nn` holds the layer's parameters. */
const builders: { readonly [K in Layer["kind"]]: Build<LayerOf<K>> } = {
  conv: ({ filters, kernel, stride, padding, bias }, [x], nn) => {
    const w = nn.parameter("weight", [filters, x.shape[1], ...kernel], nn.initialization.convolution);
    const y = convolve(x, w, stride, margins(x.shape, kernel, stride, padding));
    return bias ? add(y, channelBias(nn, filters, sizeOf(w.shape.slice(1)))) : y;
  },
  dense: ({ units, bias }, [x], nn) => {
    const inputs = x.shape[1];
    const w = nn.parameter("weight", [units, inputs], nn.initialization.dense);
    const y = conv2d(x, reshape(w, [units, inputs, 1, 1]));
    return bias ? add(y, channelBias(nn, units, inputs)) : y;
  },
  batchNorm: ({ scale: scaled, center, ...options }, [x], nn) => {
    const channels = [x.shape[1]];
    return normalize(x, nn, {
      ...options,
      gamma: scaled ? nn.parameter("weight", channels, ones) : constant(channels, 1),
      beta: center ? nn.parameter("bias", channels, zeros) : constant(channels, 0),
    });
  },
  activation: ({ function: name, slope }, [x]) => activations[name](x, slope ?? 0),
  zeroPadding: ({ margins: [[top, bottom], [left, right]] }, [x]) => pad2d(x, { top, bottom, left, right }),
  pool: ({ mode, kernel, stride, padding }, [x]) => {
    const around = margins(x.shape, kernel, stride, padding);
    const window = { kernel, stride, padding: [0, 0] as const };
    const none = isNone(around);
    if (mode === "max") {
      return apply(maxPool2dOp, [none ? x : pad2d(x, around, LOWEST)], window);
    }
    const sums = apply(avgPool2dOp, [none ? x : pad2d(x, around)], window);
    if (none) return sums;
    // zeros of the padding are not among what is averaged
    const share = pad2d(constant([1, 1, x.shape[2], x.shape[3]], 1), around);
    return divide(sums, apply(avgPool2dOp, [share], window));
  },
  globalPool: ({ mode }, [x]) => (mode === "max" ? globalMaxPool(x) : globalAvgPool(x)),
  merge: ({ function: name }, inputs) => merges[name](inputs),
  concat: ({ axis }, inputs) => {
    const at = { channel: 1, height: 2, width: 3 }[axis];
    const order = [0, 1, 2, 3].map((k) => (k === 1 ? at : k === at ? 1 : k));
    const turn = (x: Tensor) => (at === 1 ? x : permute(x, order));
    return turn(inputs.map(turn).reduce(concat));
  },
  reshape: ({ shape }, [x]) => reshapeChannelsLast(x, shape),
  permute: ({ order }, [x]) => {
    const [height, width, channel] = order.map((axis) => [2, 3, 1][axis]);
    return permute(x, [0, channel, height, width]);
  },
  dropout: ({ rate }, [x], nn) => {
    if (rate > 0 && nn.training) throw new ShapeError("dropout", "can only be evaluated, not trained");
    return x;
  },
  rescale: ({ scale: factor, offset }, [x]) => {
    const y = scale(x, factor);
    return offset === 0 ? y : add(y, constant([1, 1, 1, 1], offset));
  },
};

/** The output of one layer. x [N,C,H,W] → [N,C′,H′,W′]. @throws ShapeError when the inputs do not fit. */
export function buildLayer(layer: Layer, inputs: readonly Tensor[], nn: Scope): Tensor {
  return (builders[layer.kind] as Build<Layer>)(layer, inputs, nn);
}

/** Stands for what is not there, so that it never is the largest. */
const LOWEST = -3.4028234663852886e38;

const activations: Readonly<Record<LayerOf<"activation">["function"], (x: Tensor, slope: number) => Tensor>> =
  {
    linear: (x) => x,
    relu: (x) => relu(x),
    relu6: (x) => plus(scale(relu(plus(scale(relu(x), -1), 6)), -1), 6),
    leakyRelu: (x, slope) => add(relu(x), scale(relu(scale(x, -1)), -slope)),
    sigmoid: (x) => sigmoid(x),
    tanh: (x) => plus(scale(sigmoid(scale(x, 2)), 2), -1),
    silu: (x) => multiply(x, sigmoid(x)),
  };

const plus = (x: Tensor, value: number) => add(x, constant([1, 1, 1, 1], value));

const merges: Readonly<Record<LayerOf<"merge">["function"], (inputs: readonly Tensor[]) => Tensor>> = {
  add: (inputs) => inputs.reduce(add),
  subtract: (inputs) => {
    if (inputs.length !== 2) throw new ShapeError("subtract", `takes two inputs, has ${inputs.length}`);
    return add(inputs[0], scale(inputs[1], -1));
  },
  multiply: (inputs) => inputs.reduce(multiply),
  average: (inputs) => scale(inputs.reduce(add), 1 / inputs.length),
};

const channelBias = (nn: Scope, channels: number, fanIn: number) =>
  reshape(nn.parameter("bias", [channels], nn.initialization.bias(fanIn)), [channels, 1, 1]);

type Pair = readonly [number, number];

/** TensorFlow's: as many lines as ⌈in/stride⌉ windows need, the odd one at the end. */
function margins([, , height, width]: Shape, kernel: Pair, stride: Pair, padding: string): Margins {
  const total = (extent: number, axis: 0 | 1) =>
    padding === "same"
      ? Math.max((Math.ceil(extent / stride[axis]) - 1) * stride[axis] + kernel[axis] - extent, 0)
      : 0;
  const [rows, columns] = [total(height, 0), total(width, 1)];
  const [top, left] = [Math.floor(rows / 2), Math.floor(columns / 2)];
  return { top, bottom: rows - top, left, right: columns - left };
}

const isNone = ({ top, bottom, left, right }: Margins) => top + bottom + left + right === 0;

/** Zeros that lie alike on both sides, the layer's own or those of a padding before it, are left to the convolution. */
function convolve(x: Tensor, w: Tensor, stride: Pair, around: Margins): Tensor {
  const before = nodeOf(x);
  if (isNone(around) && before?.op.name === pad2dOp.name) {
    const { value, ...given } = before.attrs as Margins & { value: number };
    if (value === 0 && isEven(given)) {
      return conv2d(before.inputs[0], w, { stride, padding: [given.top, given.left] });
    }
  }
  if (isEven(around)) return conv2d(x, w, { stride, padding: [around.top, around.left] });
  return conv2d(pad2d(x, around), w, { stride, padding: [0, 0] });
}

const isEven = ({ top, bottom, left, right }: Margins) => top === bottom && left === right;

function reshapeChannelsLast(x: Tensor, wanted: readonly number[]): Tensor {
  const [n, c, h, w] = x.shape;
  const known = wanted.reduce((product, length) => product * (length === -1 ? 1 : length), 1);
  const shape = wanted.map((length) => (length === -1 ? (h * w * c) / known : length));
  if (shape.some((length) => !Number.isInteger(length) || length < 1) || sizeOf(shape) !== h * w * c) {
    throw new ShapeError("reshape", `${showShape([h, w, c])} does not become ${showShape(wanted)}`);
  }
  const [height, width, channels] = shape;
  const out = [n, channels, height, width];
  if (channels === c || (h * w === 1 && height * width === 1)) return reshape(x, out);
  if (h * w === 1 && channels === 1) return reshape(x, out);
  if (c === 1 && height * width === 1) return reshape(x, out);
  return permute(reshape(permute(x, [0, 2, 3, 1]), [n, height, width, channels]), [0, 3, 1, 2]);
}
