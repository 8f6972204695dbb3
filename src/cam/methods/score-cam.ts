import { resizeCorners } from "../map.ts";
import { defineWeigh } from "../spec.ts";

/** ScoreCAM: w = softmax over k of the score on x⊙N(up(Aₖ)), N: less the minimum, over the range. */
export const method = defineWeigh({
  name: "score-cam",
  paper: {
    authors: "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
    year: 2019,
    source: "arxiv.org/abs/1910.01279",
    equation: "4–6",
  },
  options: {},
  needs: ["rescore"],
  weigh: async ({ activations, channels, height, width, image: [H, W], rescoreImages }) => {
    const area = height * width;
    const scores = await rescoreImages(channels, (k, image) => {
      const mask = resizeCorners(activations.subarray(k * area, (k + 1) * area), height, width, H, W);
      let [low, high] = [mask[0], mask[0]];
      for (const value of mask) [low, high] = [Math.min(low, value), Math.max(high, value)];
      for (let i = 0; i < image.length; i++) image[i] *= (mask[i % mask.length] - low) / (high - low + 1e-8);
    });
    const top = scores.reduce((a, b) => Math.max(a, b));
    const powers = scores.map((score) => Math.exp(score - top));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  },
});
