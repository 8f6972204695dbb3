import { defineWeigh } from "../spec.ts";

/** Ablation-CAM (Desai, Ramaswamy, WACV 2020): wₖ = (y − y with Aₖ = 0)/y. */
export const method = defineWeigh({
  name: "ablation-cam",
  paper: {
    authors: "Desai, Ramaswamy",
    year: 2020,
    source: "doi.org/10.1109/WACV45572.2020.9093360",
    equation: "3",
  },
  options: {},
  needs: ["rescore"],
  dividesByScore: true,
  weigh: async ({ channels, height, width, score, rescore }) => {
    const area = height * width;
    const without = await rescore(channels, (k, activations) =>
      activations.fill(0, k * area, (k + 1) * area),
    );
    return without.map((y) => (score === 0 ? 0 : (score - y) / score));
  },
});
