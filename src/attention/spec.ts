import type { Scope } from "../nn/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface Paper {
  readonly authors: string;
  readonly year: number;
  readonly arxiv: string;
  readonly equation: string;
}

export type OptionValue = number | boolean | string;
export type Options = Readonly<Record<string, OptionValue>>;

/** An attention module: what the host needs to name it, offer its options, place it and check it. */
export interface AttentionSpec<O extends Options = Options> {
  /** On the command line, in reports and checkpoints. */
  readonly name: string;
  readonly paper: Paper;
  /** Defaults; the command line's flags derive from them. */
  readonly options: O;
  /** Allowed values of options that are words. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** The paper's count of parameters for x with this many channels. */
  parameters(channels: number, options: O): number;
  /** x [N,C,H,W] → the same shape. */
  build(x: Tensor, nn: Scope, options: O): Tensor;
}

/** How a gate's width is made whole: `down` as the papers' code, `timm` to the nearest multiple of `divisor`. */
export const roundings = ["down", "timm"];

/** Width of the bottleneck between the two dense layers of a gate. */
export function squeezed(channels: number, reduction: number, rounding: string, divisor: number): number {
  const width = channels / reduction;
  if (rounding === "down") return Math.max(1, Math.floor(width));
  return Math.max(divisor, Math.floor(Math.floor(width + divisor / 2) / divisor) * divisor);
}
