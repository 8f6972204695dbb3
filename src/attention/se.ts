import { conv } from "../nn/layers.ts";
import { multiply, relu, sigmoid } from "../ops/elementwise.ts";
import { globalAvgPool } from "../ops/reduce.ts";
import { type AttentionSpec, roundings, squeezed } from "./spec.ts";

/** Squeeze-and-excitation: y = x·σ(W₂·ReLU(W₁·GAP(x))). timm's widths are multiples of 8 (`rounding`). */
export const attention: AttentionSpec<{ reduction: number; bias: boolean; rounding: string }> = {
  name: "se",
  paper: { authors: "Hu, Shen, Albanie, Sun, Wu", year: 2017, arxiv: "1709.01507", equation: "2–4" },
  options: { reduction: 16, bias: true, rounding: "down" },
  choices: { rounding: roundings },
  parameters: (channels, { reduction, bias, rounding }) => {
    const width = squeezed(channels, reduction, rounding, 8);
    return 2 * channels * width + (bias ? channels + width : 0);
  },
  build: (x, nn, { reduction, bias, rounding }) => {
    const channels = x.shape[1];
    const layer = { kernel: 1, bias };
    const width = squeezed(channels, reduction, rounding, 8);
    const hidden = relu(conv("fc1", globalAvgPool(x), nn, width, layer));
    const gate = nn.layer("gate", () => sigmoid(conv("fc2", hidden, nn, channels, layer)));
    return multiply(x, gate);
  },
};
