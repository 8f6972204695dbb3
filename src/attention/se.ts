import { conv } from "../nn/layers.ts";
import { multiply, relu, sigmoid } from "../ops/elementwise.ts";
import { globalAvgPool } from "../ops/reduce.ts";
import { type AttentionSpec, squeezed } from "./spec.ts";

/** Squeeze-and-excitation: y = x·σ(W₂·ReLU(W₁·GAP(x))). */
export const attention: AttentionSpec<{ reduction: number; bias: boolean }> = {
  name: "se",
  paper: { authors: "Hu, Shen, Albanie, Sun, Wu", year: 2017, arxiv: "1709.01507", equation: "2–4" },
  options: { reduction: 16, bias: true },
  parameters: (channels, { reduction, bias }) => {
    const width = squeezed(channels, reduction);
    return 2 * channels * width + (bias ? channels + width : 0);
  },
  build: (x, nn, { reduction, bias }) => {
    const channels = x.shape[1];
    const layer = { kernel: 1, bias };
    const hidden = relu(conv("fc1", globalAvgPool(x), nn, squeezed(channels, reduction), layer));
    const gate = nn.layer("gate", () => sigmoid(conv("fc2", hidden, nn, channels, layer)));
    return multiply(x, gate);
  },
};
