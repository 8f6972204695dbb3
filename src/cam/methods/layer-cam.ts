import { multiply, relu } from "../../ops/elementwise.ts";
import { sumChannels } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** LayerCAM (Jiang et al., IEEE TIP 30, 2021): Σₖ ReLU(gₖ)⊙Aₖ. */
export const method = defineMap({
  name: "layer-cam",
  paper: {
    authors: "Jiang, Zhang, Hou, Cheng, Wei",
    year: 2021,
    source: "doi.org/10.1109/TIP.2021.3089943",
    equation: "6–7",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => sumChannels(multiply(relu(gradients), activations)),
});
