import { fanInUniform } from "../nn/initializers.ts";
import { channelConv } from "../ops/conv.ts";
import { multiply, sigmoid } from "../ops/elementwise.ts";
import { globalAvgPool } from "../ops/reduce.ts";
import type { AttentionSpec } from "./spec.ts";

/** Kernel for a number of channels: |log₂(C)/γ + b/γ| made odd, γ = 2, b = 1 (equation 12). */
function kernelSize(channels: number): number {
  const t = Math.floor(Math.abs(Math.log2(channels) + 1) / 2);
  return Math.max(t % 2 === 1 ? t : t + 1, 3);
}

/** Efficient channel attention: y = x·σ(convolution of GAP(x) along the channels). */
export const attention: AttentionSpec<Record<never, never>> = {
  name: "eca",
  paper: { authors: "Wang, Wu, Zhu, Li, Zuo, Hu", year: 2019, arxiv: "1910.03151", equation: "9, 12" },
  options: {},
  parameters: kernelSize,
  build: (x, nn) =>
    multiply(
      x,
      nn.layer("gate", () => {
        const w = nn.scope("conv").parameter("weight", [1, 1, kernelSize(x.shape[1])], fanInUniform);
        return sigmoid(channelConv(globalAvgPool(x), w));
      }),
    ),
};
