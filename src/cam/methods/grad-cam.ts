import { meanPixels, weighted } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** Grad-CAM: Σₖ mean(gₖ)·Aₖ. */
export const method = defineMap({
  name: "grad-cam",
  paper: {
    authors: "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
    year: 2016,
    source: "arxiv.org/abs/1610.02391",
    equation: "1–2",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => weighted(meanPixels(gradients), activations),
});
