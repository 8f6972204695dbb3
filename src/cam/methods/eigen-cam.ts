import { alignedProjection } from "../principal.ts";
import { defineMap } from "../spec.ts";

/** EigenCAM: activations along their first principal component, whatever the class. */
export const method = defineMap({
  name: "eigen-cam",
  paper: { authors: "Muhammad, Yeasin", year: 2020, source: "arxiv.org/abs/2008.00299", equation: "2–3" },
  options: {},
  needs: [],
  map: ({ activations }) => activations,
  reduce: alignedProjection,
});
