import { zeros } from "../nn/initializers.ts";
import { conv, norm } from "../nn/layers.ts";
import { add, multiply, relu, sigmoid } from "../ops/elementwise.ts";
import { globalAvgPool, globalMaxPool, max, mean } from "../ops/reduce.ts";
import { concat } from "../ops/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AttentionSpec, roundings, squeezed } from "./spec.ts";

/**
 * Convolutional block attention: first channels, σ(MLP(avg) + MLP(max)), then space, σ(BN(f⁷ˣ⁷([maps]))).
 *
 * `timm` (default, its weights load unmapped): MLP without bias, maps ordered mean, max. `official` (the paper's
 * code): MLP with bias, maps ordered max, mean, batch norm with momentum 0.01 whose γ starts at 0.
 */
export const attention: AttentionSpec<{ reduction: number; convention: string; rounding: string }> = {
  name: "cbam",
  paper: { authors: "Woo, Park, Lee, Kweon", year: 2018, arxiv: "1807.06521", equation: "1–3" },
  options: { reduction: 16, convention: "timm", rounding: "down" },
  choices: { convention: ["timm", "official"], rounding: roundings },
  parameters: (channels, { reduction, convention, rounding }) => {
    const width = squeezed(channels, reduction, rounding, 1);
    return 2 * channels * width + (convention === "official" ? channels + width : 0) + 2 * 7 * 7 + 2;
  },
  build: (x, nn, { reduction, convention, rounding }) => {
    const official = convention === "official";
    const channel = nn.scope("channel");
    const layer = { kernel: 1, bias: official };
    const width = squeezed(x.shape[1], reduction, rounding, 1);
    const mlp = (pooled: Tensor) =>
      conv("fc2", relu(conv("fc1", pooled, channel, width, layer)), channel, x.shape[1], layer);
    const gate = channel.layer("gate", () => sigmoid(add(mlp(globalAvgPool(x)), mlp(globalMaxPool(x)))));
    const y = multiply(x, gate);
    const spatial = nn.scope("spatial");
    const maps = official
      ? concat(max(y, "channel"), mean(y, "channel"))
      : concat(mean(y, "channel"), max(y, "channel"));
    const filtered = conv("conv", maps, spatial.scope("conv"), 1, { kernel: 7 });
    const scored = norm(
      "bn",
      filtered,
      spatial.scope("conv"),
      official ? { momentum: 0.01, gamma: zeros } : {},
    );
    return multiply(
      y,
      spatial.layer("gate", () => sigmoid(scored)),
    );
  },
};
