import type { Random } from "../data/random.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";

/** Fills a parameter's values; every parameter has a stream of its own, drawn from the seed and its name. */
export type Initializer = (values: Float32Array, shape: Shape, random: Random) => void;

const fill =
  (value: number): Initializer =>
  (values) =>
    values.fill(value);

export const zeros = fill(0);
export const ones = fill(1);

/** Inputs that meet in one output: I·KH·KW for kernels. */
const fanIn = (shape: Shape) => sizeOf(shape.slice(1));

/** Normal with deviation √(2/fan), fan of the output side, as torchvision's ResNet has it (1502.01852, equation 14). */
export const heNormalFanOut: Initializer = (values, shape, random) => {
  const deviation = Math.sqrt(2 / (shape[0] * sizeOf(shape.slice(2))));
  for (let i = 0; i < values.length; i++) values[i] = deviation * random.normal();
};

/** Normal with deviation √(2/fan), fan of the input side (1502.01852, equation 10). */
export const heNormal: Initializer = (values, shape, random) => {
  const deviation = Math.sqrt(2 / fanIn(shape));
  for (let i = 0; i < values.length; i++) values[i] = deviation * random.normal();
};

/** Uniform in ±1/√fan_in: PyTorch's default for dense layers and convolutions. */
export const fanInUniform: Initializer = (values, shape, random) => {
  const bound = 1 / Math.sqrt(fanIn(shape));
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.next() - 1);
};

/** Uniform in ±bound. */
export const uniform =
  (bound: number): Initializer =>
  (values, _shape, random) => {
    for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.next() - 1);
  };
