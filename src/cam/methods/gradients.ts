import { largestMagnitude } from "../map.ts";
import { defineMap } from "../spec.ts";

/** Gradients of the score in the pixels: the largest |∂y/∂x| of a pixel's channels. */
export const method = defineMap({
  name: "gradients",
  paper: {
    authors: "Simonyan, Vedaldi, Zisserman",
    year: 2013,
    source: "arxiv.org/abs/1312.6034",
    equation: "section 3.1",
  },
  options: {},
  needs: ["gradients"],
  atImages: true,
  map: ({ gradients }) => gradients,
  reduce: largestMagnitude,
});
