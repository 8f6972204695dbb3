import { largestMagnitude } from "../map.ts";
import { defineMap } from "../spec.ts";

/** SmoothGrad: gradients in the pixels, averaged over noisy copies of the image. */
export const method = defineMap({
  name: "smooth-grad",
  paper: {
    authors: "Smilkov, Thorat, Kim, Viégas, Wattenberg",
    year: 2017,
    source: "arxiv.org/abs/1706.03825",
    equation: "1",
  },
  options: { samples: 25, noise: 0.15 },
  needs: ["gradients"],
  atImages: true,
  map: ({ gradients }) => gradients,
  reduce: largestMagnitude,
  copies: ({ samples, noise }) => ({ count: samples, noise }),
});
