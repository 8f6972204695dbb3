import type { conv2dOp } from "../../ops/conv.ts";
import type { Node } from "../../ops/op.ts";

type ConvAttrs = Parameters<typeof conv2dOp.shape>[1];

/** Whether a convolution, or a gradient of one, is a layer of pools: all its maps are one pixel, and none of them a border's. */
export const meetsPools = ({ inputs, attrs, output }: Node): boolean =>
  [output, ...inputs].every(({ shape: [, , h, w] }) => h === 1 && w === 1) &&
  (attrs as ConvAttrs).padding.every((zeros) => zeros === 0);
