import type { Random } from "../random/random.ts";
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

/**
 * Normal with deviation √(2/fan), fan of the input side (1502.01852, equation 10), redrawn beyond two deviations and
 * widened to make up for it, as Keras' HeNormal.
 */
const heNormalTruncated: Initializer = (values, shape, random) => {
  const deviation = Math.sqrt(2 / fanIn(shape)) / 0.8796256610342398; // of a unit normal cut at ±2
  for (let i = 0; i < values.length; i++) {
    let draw = random.normal();
    while (Math.abs(draw) > 2) draw = random.normal();
    values[i] = deviation * draw;
  }
};

/** Uniform in ±√(6/(inputs + outputs)) (Glorot and Bengio 2010, equation 16). */
const glorotUniform: Initializer = (values, shape, random) => {
  const bound = Math.sqrt(6 / (fanIn(shape) + shape[0]));
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.next() - 1);
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

/** What parameters start from where a layer does not say otherwise. */
export interface Initialization {
  readonly convolution: Initializer;
  readonly dense: Initializer;
  /** Of a layer with this many inputs to an output. */
  readonly bias: (inputs: number) => Initializer;
}

export const initializations = {
  torch: {
    convolution: heNormalFanOut,
    dense: fanInUniform,
    bias: (inputs: number) => uniform(1 / Math.sqrt(inputs)),
  },
  keras: { convolution: heNormalTruncated, dense: glorotUniform, bias: (_inputs: number) => zeros },
} as const satisfies Record<string, Initialization>;

export type InitializationName = keyof typeof initializations;
