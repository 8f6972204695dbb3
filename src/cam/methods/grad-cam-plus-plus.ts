import { add, multiply, relu, scale } from "../../ops/elementwise.ts";
import { ratio, sumPixels, weighted } from "../graph-math.ts";
import { defineMap } from "../spec.ts";

/** Grad-CAM++: wₖ = Σ α·ReLU(g), α = g²/(2g² + (ΣA)·g³ + 10⁻⁶), which is 0 where g is. */
export const method = defineMap({
  name: "grad-cam++",
  paper: {
    authors: "Chattopadhyay, Sarkar, Howlader, Balasubramanian",
    year: 2017,
    source: "arxiv.org/abs/1710.11063",
    equation: "7, 19",
  },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients: g }) => {
    const square = multiply(g, g);
    const cube = multiply(square, g);
    const alpha = ratio(square, add(scale(square, 2), multiply(sumPixels(activations), cube)), 1e-6);
    return weighted(sumPixels(multiply(relu(g), alpha)), activations);
  },
});
