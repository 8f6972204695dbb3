import { multiply } from "../../ops/elementwise.ts";
import { alignedProjection } from "../principal.ts";
import { defineMap } from "../spec.ts";

/** EigenGradCAM, as pytorch-grad-cam has it: g⊙A along its first principal component. */
export const method = defineMap({
  name: "eigen-grad-cam",
  paper: {
    authors: "Gildenblat and contributors",
    year: 2021,
    source: "github.com/jacobgil/pytorch-grad-cam",
    equation: "EigenGradCAM",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => multiply(gradients, activations),
  reduce: alignedProjection,
});
