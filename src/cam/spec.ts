import type { Options } from "../attention/spec.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Where a method was published. */
export interface Source {
  readonly authors: string;
  readonly year: number;
  /** Address without its scheme. */
  readonly source: string;
  readonly equation: string;
}

/** What a method may read of its layer, as tensors of the graph; `gradients` only where it asks for them. */
export type CamLayer<N extends "gradients"> = {
  /** [N,C,h,w]. */
  readonly activations: Tensor;
} & Pick<{ readonly gradients: Tensor }, N>;

/** Values of one image that the engine computed, channel by channel. */
export interface Planes {
  /** [C,h·w]. */
  readonly values: Float32Array;
  readonly channels: number;
  readonly pixels: number;
}

/** A layer of one image, for methods that run the network again. */
export interface RescoredLayer {
  /** [C,h,w]. */
  readonly activations: Float32Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** [height, width] of the image. */
  readonly image: readonly [number, number];
  /** Score of the image as it is: the logit of the class, less that of the class it is held against. */
  readonly score: number;
  /** Scores of `count` changed images; `change` gets a copy of the image [3,H,W] each time. */
  rescoreImages(count: number, change: (k: number, image: Float32Array) => void): Promise<Float32Array>;
  /** Scores with changed activations: the network runs from this layer on. `change` gets a copy [C,h,w]. */
  rescore(count: number, change: (k: number, activations: Float32Array) => void): Promise<Float32Array>;
}

interface Common<O> {
  /** On the command line, in reports and records. */
  readonly name: string;
  readonly paper: Source;
  /** Defaults. */
  readonly options: O;
}

/** A method whose maps are computed in the graph, with the forward pass. */
export interface MapMethod<N extends "gradients" = "gradients", O extends Options = Options>
  extends Common<O> {
  readonly needs: readonly N[];
  /** Its layer is always the image itself. */
  readonly atImages?: true;
  /** The map before it is clipped, scaled and resized: [N,1,h,w]; with `reduce` any number of channels. */
  map(at: CamLayer<N>, options: O): Tensor;
  /** Brings the channels of one image to its map [h·w]. */
  reduce?(planes: Planes): Float32Array;
  /** Averages what `map` returns over noisy copies of the image; `noise` is σ over the image's range. */
  copies?(options: O): { readonly count: number; readonly noise: number };
}

/** A method that weighs each channel by running the network again: Σ wₖ·Aₖ. */
export interface WeighMethod<O extends Options = Options> extends Common<O> {
  readonly needs: readonly ["rescore"];
  /** A score below 0 turns its maps around. */
  readonly dividesByScore?: boolean;
  /** Weights [C]. */
  weigh(at: RescoredLayer, options: O): Promise<Float32Array>;
}

export type CamMethod = MapMethod | WeighMethod;

export const defineMap = <N extends "gradients", O extends Options>(method: MapMethod<N, O>): CamMethod =>
  method as unknown as CamMethod;

export const defineWeigh = <O extends Options>(method: WeighMethod<O>): CamMethod =>
  method as unknown as CamMethod;
