import { ShapeError } from "../tensor/errors.ts";
import { type Shape, showShape } from "../tensor/tensor.ts";
import { expectRank } from "./op.ts";

/** A sliding window: [height, width] of kernel, stride and padding (both sides). */
export interface Window2d {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
}

/** Output extents of a window over x [N,C,H,W]. */
export function windowExtent(op: string, x: Shape, { kernel, stride, padding }: Window2d): [number, number] {
  expectRank(op, "x", x, 4);
  for (const [name, pair, least] of [
    ["window", kernel, 1],
    ["stride", stride, 1],
    ["padding", padding, 0],
  ] as const) {
    if (pair.some((length) => !Number.isInteger(length) || length < least)) {
      throw new ShapeError(op, `${name} ${pair.join("×")} must be whole numbers of at least ${least}`);
    }
  }
  const extent = (axis: 0 | 1) => {
    const padded = x[2 + axis] + 2 * padding[axis];
    if (padded < kernel[axis]) {
      throw new ShapeError(
        op,
        `window ${kernel.join("×")} does not fit x ${showShape(x)} with padding ${padding.join("×")}`,
      );
    }
    return Math.floor((padded - kernel[axis]) / stride[axis]) + 1;
  };
  return [extent(0), extent(1)];
}

/** Calls `visit` for every pair (input pixel, output pixel) joined by a tap of the window; borders are left out. */
export function forEachTap(
  [height, width]: readonly [number, number],
  [outHeight, outWidth]: readonly [number, number],
  { kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw] }: Window2d,
  visit: (inputPixel: number, outputPixel: number, tap: number) => void,
): void {
  for (let oh = 0; oh < outHeight; oh++) {
    for (let ow = 0; ow < outWidth; ow++) {
      for (let i = 0; i < kh; i++) {
        const ih = oh * sh + i - ph;
        if (ih < 0 || ih >= height) continue;
        for (let j = 0; j < kw; j++) {
          const iw = ow * sw + j - pw;
          if (iw >= 0 && iw < width) visit(ih * width + iw, oh * outWidth + ow, i * kw + j);
        }
      }
    }
  }
}
