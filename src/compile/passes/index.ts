import type { Graph } from "../graph.ts";
import { type Pass, rewrite } from "../rewrite.ts";
import { foldBatchNorm } from "./fold-batch-norm.ts";

/** Passes in the order in which they run. */
export const passes: readonly Pass[] = [foldBatchNorm];

export const optimize = (graph: Graph): Graph => passes.reduce(rewrite, graph);
