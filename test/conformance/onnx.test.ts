import { describe, expect, test } from "vitest";
import { attentions } from "../../src/attention/registry.ts";
import { createEngine } from "../../src/engine/create.ts";
import { declared, OnnxGraph } from "../../src/exchange/onnx/graph.ts";
import { encodeModel } from "../../src/exchange/onnx/proto.ts";
import { rules } from "../../src/exchange/onnx/rules.ts";
import { convert, encodeOnnx } from "../../src/exchange/onnx/write.ts";
import { type ModelOptions, resolveModel } from "../../src/models/options.ts";
import * as fusedOps from "../../src/ops/fused.ts";
import { input } from "../../src/tensor/tensor.ts";
import { difference, expectNone } from "../support/compare.ts";
import { lookAt, normalize } from "../support/maps.ts";
import { runOnnx } from "../support/onnx.ts";
import { madeUp } from "../support/trained.ts";
import { listed, normal } from "../support/values.ts";
import { allCases } from "./cases/index.ts";
import { applied, type OpCase, type OpCases, oracleOf, valuesOf } from "./cases/types.ts";

/** Ops of training, and those that compile passes put in: no model to be used has one. */
const NEVER_EXPORTED = [
  ...["sgd", "adam", "update_running", "cross_entropy", "cross_entropy_grad"],
  ...["batch_statistics", "batch_norm", "batch_norm_grad_sums", "batch_norm_input_grad"],
  ...["conv2d_weight_grad", "channel_conv_weight_grad"],
];

test("every op that a model in use may hold has a rule", () => {
  const without = allCases.map(({ op }) => op.name).filter((name) => !rules.has(name));
  const fused = Object.values(fusedOps).flatMap((value) => ("name" in value ? [value.name] : []));
  expect(without.filter((name) => !fused.includes(name)).sort()).toEqual([...NEVER_EXPORTED].sort());
});

/** One application as a model of its own, run by onnxruntime. */
async function errorsOf(cases: OpCases, at: OpCase): Promise<string[]> {
  const operands = at.operands.map(({ shape }, k) => input(`operand${k}`, shape));
  const y = applied(cases, at, operands);
  const graph = new OnnxGraph("operand0");
  const inputs = new Map(operands.map((x, k) => [x, `operand${k}`]));
  graph.output("y", convert(graph, [y], inputs).get(y)!);
  const model = encodeModel({
    ...{ ir_version: 8, producer_name: "test", producer_version: "0", doc_string: "" },
    ...{ opset_import: [{ domain: "", version: 17 }], metadata_props: [] },
    graph: {
      ...{ name: "op", node: graph.nodes, initializer: graph.initializers },
      input: operands.map((x, k) => declared(`operand${k}`, x)),
      output: [declared("y", y)],
    },
  });
  const values = valuesOf(at);
  const feeds = Object.fromEntries(
    at.operands.map(({ shape }, k) => [`operand${k}`, { shape, values: values[k] }]),
  );
  const [expected] = oracleOf(cases, at, values);
  const { y: actual } = await runOnnx(model, feeds);
  const said = difference(actual.values, expected.values, y.shape, 2e-5);
  return said ? [`${at.title}: ${said}`] : [];
}

describe("onnxruntime computes an op's rule as the oracle computes the op", () => {
  for (const cases of allCases) {
    if (!rules.has(cases.op.name)) continue;
    test(cases.op.name, async () => {
      const errors: string[] = [];
      for (const at of cases.cases) errors.push(...(await errorsOf(cases, at)));
      expectNone(errors);
    });
  }
});

const engine = createEngine({ threads: 1 });
const small = { depths: [1, 2], widths: [8, 12] };
const stems = ["cifar", "pooled", "imagenet", "study"];
const gates: ModelOptions[] = [
  { attention: "none" },
  ...[...attentions.values()].flatMap(({ name, options, choices = {} }) => {
    const words = Object.entries(choices).flatMap(([key, all]) => all.map((value) => ({ [key]: value })));
    const flags = Object.entries(options).flatMap(([key, value]) =>
      typeof value === "boolean" ? [{ [key]: !value }] : [],
    );
    return [{}, ...words, ...flags].map((own) => ({
      attention: name,
      attentionOptions: { ...("reduction" in options && { reduction: 4 }), ...own },
    }));
  }),
];
const models = gates.flatMap((gate, k): (readonly [string, ModelOptions])[] =>
  ["resnet14", "resnet18"].flatMap((name) =>
    // every stem with every block and without attention, one of them in turn with each attention
    (k === 0 ? stems : [stems[k % stems.length]]).map((stem) => {
      const options = { name, ...small, expansion: name === "resnet14" ? 4 : 1, stem, ...gate };
      return [`${name} ${stem} ${JSON.stringify(gate)}`, options as ModelOptions] as const;
    }),
  ),
);

describe("onnxruntime agrees with our engine on logits and map", () => {
  test.each(models)("%s", async (_, options) => {
    const trained = madeUp(resolveModel(options, 5), [24, 32]);
    const model = encodeOnnx(trained);
    for (const batch of [1, 3]) {
      const shape = [batch, 3, 24, 32];
      const values = normal(shape, "image").map((x) => 1 / (1 + Math.exp(-x)));
      const { logits, probabilities, map } = await runOnnx(model, { image: { shape, values } });
      const ours = await lookAt(trained, engine, normalize(values, trained));
      expect(difference(logits.values, ours.logits, [batch, 5], 1e-4)).toBeUndefined();
      expect(difference(map.values, ours.map, [batch, 24, 32], 1e-4)).toBeUndefined();
      expect(map.shape).toEqual([batch, 24, 32]);
      // a map that shows nothing would agree as well
      expect(Math.max(...map.values)).toBeCloseTo(1, 5);
      expect(map.values.reduce((sum, x) => sum + x, 0)).toBeGreaterThan(1);
      const sums = Array.from({ length: batch }, (_, n) =>
        probabilities.values.subarray(5 * n, 5 * n + 5).reduce((sum, x) => sum + x, 0),
      );
      for (const sum of sums) expect(sum).toBeCloseTo(1, 5);
    }
  });

  test.each(["conv1", "bn1", "maxpool", "layer1", "layer1.0.conv2", "layer2.0.bn2", "layer2.1.se", "layer2"])(
    "at layer %s, through everything behind it",
    async (layer) => {
      for (const [name, attention] of [
        ["resnet14", "cbam"],
        ["resnet18", "se"],
        ["resnet14", "eca"],
      ]) {
        const options = { name, ...small, stem: "pooled", attention };
        const trained = madeUp(
          resolveModel(name === "resnet14" ? { ...options, expansion: 2 } : options, 4),
          [16, 20],
        );
        const shape = [2, 3, 16, 20];
        const values = normal(shape, layer).map((x) => 1 / (1 + Math.exp(-x)));
        const { map } = await runOnnx(encodeOnnx(trained, { map: layer }), { image: { shape, values } });
        const ours = await lookAt(trained, engine, normalize(values, trained), layer);
        expect(difference(map.values, ours.map, [2, 16, 20], 1e-4)).toBeUndefined();
      }
    },
  );

  test("has no map where that is not wanted, and says which layers have one", async () => {
    const trained = madeUp(resolveModel({ name: "resnet14", ...small, stem: "imagenet" }, 3), [4, 4]);
    const shape = [1, 3, 4, 4];
    const image = { shape, values: listed(...new Array(48).fill(0.5))(shape, "") };
    const outputs = await runOnnx(encodeOnnx(trained), { image });
    expect(Object.keys(outputs)).toContain("logits");
    expect(() => encodeOnnx(trained, { map: "layer9" })).toThrow(
      /layer "layer9": the model has no layer of that name/,
    );
    expect(Object.keys(await runOnnx(encodeOnnx(trained, { map: false }), { image })).sort()).toEqual([
      "logits",
      "probabilities",
    ]);
  });
});
