import { multiply } from "../../ops/elementwise.ts";
import { magnitude } from "../graph-math.ts";
import { extremeProjection } from "../principal.ts";
import { defineMap } from "../spec.ts";

/** Seg-Eigen-CAM (Applied Sciences 15(13), 7562): |g|⊙A along its first principal component. */
export const method = defineMap({
  name: "seg-eigen-cam",
  paper: { authors: "Chung, Ying", year: 2025, source: "doi.org/10.3390/app15137562", equation: "10–13" },
  options: {},
  needs: ["gradients"],
  map: ({ activations, gradients }) => multiply(magnitude(gradients), activations),
  reduce: extremeProjection,
});
