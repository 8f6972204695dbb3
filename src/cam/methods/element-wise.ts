import { multiply, relu } from "../../ops/elementwise.ts";
import { sumChannels } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** Element-wise Grad-CAM, as pytorch-grad-cam has it: Σₖ ReLU(gₖ⊙Aₖ). */
export const method = defineMap({
  name: "element-wise",
  paper: {
    authors: "Gildenblat and contributors",
    year: 2021,
    source: "github.com/jacobgil/pytorch-grad-cam",
    equation: "GradCAMElementWise",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => sumChannels(relu(multiply(gradients, activations))),
});
