import { multiply } from "../../ops/elementwise.ts";
import { sumChannels } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** HiResCAM: Σₖ gₖ⊙Aₖ. */
export const method = defineMap({
  name: "hires-cam",
  paper: { authors: "Draelos, Carin", year: 2020, source: "arxiv.org/abs/2011.08891", equation: "5" },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => sumChannels(multiply(gradients, activations)),
});
