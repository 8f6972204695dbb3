import { describe, expect, test } from "vitest";
import type { Graph } from "../../src/compile/graph.ts";
import { optimize, passes } from "../../src/compile/passes/index.ts";
import { schedule } from "../../src/compile/schedule.ts";
import { createEngine } from "../../src/engine/create.ts";
import { referenceEngine } from "../../src/engine/reference.ts";
import { buildModel } from "../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../src/models/options.ts";
import { Variables } from "../../src/nn/scope.ts";
import { nodeOf } from "../../src/ops/op.ts";
import { normal, positive } from "../support/values.ts";

const small: ModelOptions = {
  name: "resnet14",
  stem: "pooled",
  depths: [2, 1],
  widths: [4, 8],
  strides: [1, 2],
};
const models: Record<string, ModelOptions> = {
  plain: small,
  basic: { ...small, name: "resnet18" },
  se: { ...small, attention: "se", attentionOptions: { reduction: 4 } },
  cbam: { ...small, attention: "cbam", attentionOptions: { reduction: 4 } },
  eca: { ...small, attention: "eca" },
  "identity blocks": { ...small, attention: "se", placement: "identity" },
};

function evaluated(options: ModelOptions) {
  const variables = new Variables(3);
  const build = { batch: 3, image: [12, 10] as const, training: false };
  const { logits, nn } = buildModel(resolveModel(options, 5), variables, build);
  const graph: Graph = { outputs: { logits, features: nn.layers.get("layer1.0")! }, effects: [] };
  return { graph, variables };
}

type Outputs = Readonly<Record<string, Float32Array>>;

/** Largest difference of any output, relative to its largest value. */
const largestError = (before: Outputs, after: Outputs) =>
  Math.max(
    ...Object.entries(before).map(([key, values]) => {
      const differences = values.map((value, i) => Math.abs(after[key][i] - value));
      return Math.max(...differences) / Math.max(...values.map(Math.abs));
    }),
  );

const opsOf = (graph: Graph) => schedule(graph).flatMap((x) => nodeOf(x)?.op.name ?? []);

describe.each(Object.keys(models))("passes over %s", (name) => {
  const { graph, variables } = evaluated(models[name]);
  const feeds = { images: normal([3, 3, 12, 10], "images") };

  async function run(engine: ReturnType<typeof createEngine>, asked: Graph) {
    const store = engine.open(variables.all());
    for (const { name: at, kind, shape } of variables.all()) {
      if (kind === "statistic") store.write(at, positive(shape, at)); // other than those a model starts with
    }
    return store.compile(asked).run(feeds);
  }

  test.each(passes.map((pass) => [pass.name, pass] as const))(
    "%s keeps what is computed",
    async (_, pass) => {
      const before = await run(referenceEngine, graph);
      const after = await run(referenceEngine, pass.run(graph));
      expect(largestError(before, after)).toBeLessThan(1e-6);
    },
  );

  test("no batch norm behind a convolution is left, and every output is there", () => {
    const ops = opsOf(optimize(graph));
    expect(ops).not.toContain("batch_norm_inference");
    expect(ops.filter((op) => op === "conv2d_fused").length).toBe(
      opsOf(graph).filter((op) => op === "batch_norm_inference").length,
    );
    expect(Object.keys(optimize(graph).outputs)).toEqual(["logits", "features"]);
  });

  test("the native engine computes the same with and without them", async ({ skip }) => {
    const [plain, optimized] = [false, true].map((on) => createEngine({ passes: on }));
    skip(plain.name !== "native", "the native engine was not built");
    const [before, after] = [await run(plain, graph), await run(optimized, graph)];
    expect(largestError(before, after)).toBeLessThan(1e-5);
  });
});
