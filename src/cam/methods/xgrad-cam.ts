import { multiply } from "../../ops/elementwise.ts";
import { ratio, sumPixels, weighted } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** XGrad-CAM: wₖ = Σ g·A/(ΣA + 10⁻⁷). */
export const method = defineMap({
  name: "xgrad-cam",
  paper: {
    authors: "Fu, Hu, Dong, Guo, Gao, Li",
    year: 2020,
    source: "arxiv.org/abs/2008.02312",
    equation: "8",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => {
    const weights = ratio(sumPixels(multiply(gradients, activations)), sumPixels(activations), 1e-7);
    return weighted(weights, activations);
  },
});
