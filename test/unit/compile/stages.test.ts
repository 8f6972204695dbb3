import { describe, expect, it } from "vitest";
import { lower, type ProgramRecord, placeVariables } from "../../../src/compile/lower.ts";
import { optimize, passes } from "../../../src/compile/passes/index.ts";
import { changesBetween, stagesOf } from "../../../src/compile/stages.ts";
import { resolveModel } from "../../../src/models/options.ts";
import { Variables } from "../../../src/nn/scope.ts";
import { evaluationGraph, trainingGraph } from "../../../src/train/graphs.ts";
import { createOptimizer } from "../../../src/train/optimizers.ts";

const batch = { batch: 2, image: [8, 8] as const };

function graphs(attention: string) {
  const model = resolveModel({ name: "resnet14", widths: [4, 8, 8, 8], stem: "pooled", attention }, 3);
  const variables = new Variables(1);
  const optimizer = createOptimizer({ name: "sgd", lr: 0.1, momentum: 0.9 });
  const training = trainingGraph(model, variables, optimizer, batch);
  return { training, inference: evaluationGraph(model, variables, batch), variables: variables.all() };
}

describe.each(["none", "eca", "cbam"])("programs of a model with attention %s", (attention) => {
  const { variables, ...both } = graphs(attention);

  it.each(Object.entries(both))("%s: the last stage is what the engine runs", (_, graph) => {
    const stages = stagesOf(graph, variables);
    expect(stages.map(({ name }) => name)).toEqual(["before any pass", ...passes.map(({ name }) => name)]);
    const { places, floats } = placeVariables(variables);
    const bare = ({ kernel, operands, params }: ProgramRecord) => ({ kernel, operands, params });
    const last = stages[stages.length - 1].program;
    const run = lower(optimize(graph), places, floats);
    expect(last.records.map(bare)).toEqual(run.records.map(bare));
    expect(last.scratchFloats).toBe(run.scratchFloats);
  });

  it.each(Object.entries(both))("%s: what is gone and what is new lead from stage to stage", (_, graph) => {
    const stages = stagesOf(graph, variables);
    for (const [k, { program }] of stages.slice(1).entries()) {
      const before = stages[k].program;
      const changes = changesBetween(before, program);
      for (const { kind, index, record } of changes) {
        expect((kind === "gone" ? before : program).records[index]).toBe(record);
      }
      const kernels = (kind: string) =>
        changes.filter((change) => change.kind === kind).map(({ record }) => record.kernel);
      const kept = [...before.records.map(({ kernel }) => kernel), ...kernels("new")].sort();
      const found = [...program.records.map(({ kernel }) => kernel), ...kernels("gone")].sort();
      expect(kept).toEqual(found);
    }
  });

  it.each(Object.entries(both))("%s: a record knows its layer", (_, graph) => {
    for (const { program } of stagesOf(graph, variables))
      for (const { kernel, label } of program.records)
        expect(label || kernel).toMatch(/^(conv1|bn1|layer\d|maxpool|avgpool|fc|constant$)/);
  });
});

describe("changesBetween", () => {
  const record = (kernel: string, label: string): ProgramRecord => ({
    kernel,
    label,
    parts: [],
    reads: [],
    writes: [],
    operands: [],
    params: [],
    multiplyAdds: 0,
  });
  const program = (...records: ProgramRecord[]) => ({
    records,
    inputs: new Map(),
    outputs: new Map(),
    scratchFloats: 0,
  });
  const [conv, norm, relu] = [record("conv2d", "conv1"), record("batch_norm", "bn1"), record("relu", "bn1")];

  it("lists layer by layer, what is gone first", () => {
    const fused = record("conv2d_norm", "conv1");
    const both = record("norm_relu", "bn1");
    const changes = changesBetween(program(conv, norm, relu), program(both, fused));
    expect(changes.map(({ kind, index, record }) => [kind, index, record.kernel])).toEqual([
      ["gone", 0, "conv2d"],
      ["new", 1, "conv2d_norm"],
      ["gone", 1, "batch_norm"],
      ["gone", 2, "relu"],
      ["new", 0, "norm_relu"],
    ]);
  });

  it("counts equal records, and does not mind their order", () => {
    expect(changesBetween(program(conv, norm, relu), program(norm, relu, conv))).toEqual([]);
    expect(changesBetween(program(relu, norm, relu), program(relu, norm))).toEqual([
      { kind: "gone", index: 2, record: relu },
    ]);
  });

  it("puts a new layer after the one before it", () => {
    const gate = record("sigmoid", "gate");
    const changes = changesBetween(program(conv, relu), program(norm, gate, conv));
    expect(changes.map(({ record }) => record.kernel)).toEqual(["relu", "batch_norm", "sigmoid"]);
  });
});
