import type { Graph } from "../graph.ts";
import type { Pass } from "../rewrite.ts";
import { foldBatchNorm } from "./fold-batch-norm.ts";
import { gatesAlong } from "./gates.ts";
import { identities } from "./identities.ts";
import { sumByImage } from "./image-sums.ts";
import { fuseInputGrad } from "./input-grad.ts";
import { finishLayers } from "./layers.ts";
import { mergeEqual } from "./merge-equal.ts";
import { oneProduct } from "./one-product.ts";
import { pairs } from "./pairs.ts";
import { poolsAlong } from "./pools.ts";
import { fuseRegions } from "./regions.ts";
import { statisticsAlong } from "./statistics.ts";
import { recomputeNorm } from "./weight-grad.ts";
import { sumByWeights } from "./weight-sums.ts";

/** Passes in the order in which they run. */
export const passes: readonly Pass[] = [
  identities,
  mergeEqual,
  foldBatchNorm,
  oneProduct,
  pairs,
  finishLayers,
  statisticsAlong,
  recomputeNorm,
  fuseInputGrad,
  sumByImage,
  mergeEqual,
  poolsAlong,
  gatesAlong,
  mergeEqual,
  sumByWeights,
  fuseRegions,
];

export const optimize = (graph: Graph): Graph => passes.reduce((before, pass) => pass.run(before), graph);
