import type { Graph } from "../compile/graph.ts";
import { optimize } from "../compile/passes/index.ts";
import { regionOp } from "../compile/region.ts";
import { schedule } from "../compile/schedule.ts";
import { type ModelOptions, resolveModel } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { nodeOf } from "../ops/op.ts";
import { evaluationGraph, trainingGraph } from "../train/graphs.ts";
import { createOptimizer } from "../train/optimizers.ts";

const attentions: readonly Partial<ModelOptions>[] = [
  {},
  { attention: "se" },
  { attention: "eca" },
  { attention: "cbam" },
  { attention: "cbam", attentionOptions: { convention: "official" } },
];
const shape = { batch: 32, image: [32, 32] as const };

/** Training and inference of bottleneck and basic ResNets with every attention module. */
function* graphs(): Generator<Graph> {
  const optimizer = createOptimizer({ name: "sgd", lr: 0.1 });
  for (const name of ["resnet50", "resnet18"]) {
    for (const stem of ["cifar", "imagenet"]) {
      for (const options of attentions) {
        const model = resolveModel({ name, stem, ...options }, 10);
        yield trainingGraph(model, new Variables(1), optimizer, shape);
        yield evaluationGraph(model, new Variables(1), shape);
      }
    }
  }
}

/** A region's parameters with 0 for sizes and for what sums are multiplied by. */
function formOf(params: readonly number[]): string {
  const head = 7 + params[1];
  const varies = (i: number) => (i >= 2 && i < 5) || (i >= head && (i - head) % 9 === 8);
  return params.map((value, i) => (varies(i) ? 0 : value)).join(", ");
}

/** Programs of regions that common models run, as native/kernels/region_forms.h lists them. */
export function regionForms(): string {
  const forms = new Set<string>();
  for (const graph of graphs()) {
    for (const node of schedule(optimize(graph)).flatMap((x) => nodeOf(x) ?? [])) {
      if (node.op.name !== regionOp.name) continue;
      const call = node.op.native(node);
      if ("params" in call) forms.add(formOf(call.params));
    }
  }
  return `// Written by scripts/region-forms.mjs: programs of regions in ResNets with each attention module.
#pragma once
#include "region_form.h"

namespace atento {
namespace ATENTO_ISA {

using CommonForms = FormList<
${[...forms].map((form) => `    Form<${form}>`).join(",\n")}>;

}  // namespace ATENTO_ISA
}  // namespace atento
`;
}
