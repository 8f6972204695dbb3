import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { attentions } from "../../src/attention/registry.ts";
import type { AttentionSpec, Options } from "../../src/attention/spec.ts";
import { gradient } from "../../src/autodiff/gradient.ts";
import type { Store } from "../../src/engine/engine.ts";
import { floatsOf, readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { resolveModel } from "../../src/models/options.ts";
import { torchBatchNorm } from "../../src/nn/layers.ts";
import { Scope, Variables } from "../../src/nn/scope.ts";
import { input, type Shape, sizeOf, type Tensor, variableOf } from "../../src/tensor/tensor.ts";
import { expectNone } from "../support/compare.ts";
import { gradientErrors } from "../support/differences.ts";
import { describeEngines } from "../support/engines.ts";
import { differences, type Runnable, runOn, runOnOracle } from "../support/graphs.ts";
import { normal, positive } from "../support/values.ts";

const folder = new URL("../../src/attention/", import.meta.url);

test("the registry lists every module of its folder; when it does not, run: npm run build:ts", () => {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && file !== "registry.ts" && file !== "spec.ts")
    .map((file) => file.replace(/\.ts$/, ""));
  const registry = readFileSync(new URL("registry.ts", folder), "utf8");
  const listed = [...registry.matchAll(/from "\.\/(?!spec\.ts)(.+)\.ts"/g)].map(([, name]) => name);
  expect(listed.sort()).toEqual(files.sort());
  expect(attentions.size).toBe(files.length);
  for (const file of files) {
    expect(readFileSync(new URL(`${file}.ts`, folder), "utf8").split("\n").length).toBeLessThan(55);
  }
});

/** Every combination of an option's choices and of both values of what is true or false; numbers 1, default, 3. */
function combinations({ options, choices = {} }: AttentionSpec): Options[] {
  let all: Options[] = [{}];
  for (const [name, preset] of Object.entries(options)) {
    const values =
      typeof preset === "boolean"
        ? [true, false]
        : typeof preset === "number"
          ? [preset, 1, 3]
          : choices[name];
    all = all.flatMap((known) => values.map((value) => ({ ...known, [name]: value })));
  }
  return all;
}

interface Built {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly nn: Scope;
  readonly variables: Variables;
}

function build(spec: AttentionSpec, options: Options, shape: Shape, training: boolean): Built {
  const variables = new Variables(4);
  const root = Scope.root(variables, { training, batchNorm: torchBatchNorm });
  const x = input("x", shape);
  const nn = root.scope("se");
  return { x, y: spec.build(x, nn, options), nn, variables };
}

const all = [...attentions.values()].flatMap((spec) =>
  combinations(spec).map((options) => [`${spec.name} ${JSON.stringify(options)}`, spec, options] as const),
);

describe.each([...attentions])("%s", (name, spec) => {
  test("says who published it and what its options may be", () => {
    expect(spec.name).toBe(name);
    expect(spec.paper.arxiv).toMatch(/^\d{4}\.\d{5}$/);
    expect(spec.paper.year).toBeGreaterThan(2000);
    expect(spec.paper.authors.length).toBeGreaterThan(0);
    const words = Object.entries(spec.options).filter(([, preset]) => typeof preset === "string");
    expect(Object.keys(spec.choices ?? {}).sort()).toEqual(words.map(([key]) => key).sort());
    for (const [key, preset] of words) expect(spec.choices?.[key]).toContain(preset);
  });

  test("is what the models take by this name, with each of its options", () => {
    for (const options of combinations(spec)) {
      const { attention } = resolveModel(
        { name: "resnet18", attention: name, attentionOptions: options },
        10,
      );
      expect(attention).toEqual({ name, options: { ...spec.options, ...options } });
    }
  });
});

describe.each(all)("%s", (_, spec, options) => {
  test.each([1, 2, 3, 5, 8, 17, 24, 33, 64, 67, 100, 128, 256, 2048])(
    "has the paper's count of parameters for %d channels",
    (channels) => {
      const { variables } = build(spec, options, [1, channels, 4, 4], false);
      const count = variables.tensors("parameter").reduce((sum, { shape }) => sum + sizeOf(shape), 0);
      expect(spec.parameters(channels, options)).toBe(count);
    },
  );

  test.each([[[1, 1, 1, 1]], [[3, 5, 1, 1]], [[2, 17, 1, 6]], [[3, 33, 5, 4]]] as Shape[][])(
    "keeps the shape %j",
    (shape) => {
      for (const training of [false, true]) {
        const { y, nn, variables } = build(spec, options, shape, training);
        expect(y.shape).toEqual(shape);
        for (const { name } of variables.all()) expect(name).toMatch(/^se\.[a-z0-9_.]+$/);
        // what heatmaps and listings see must lie inside the module's own scope
        for (const layer of nn.layers.keys()) expect(layer).toMatch(/^se\./);
      }
    },
  );

  test("has equal names and shapes in training and in evaluation", () => {
    const of = (training: boolean) =>
      build(spec, options, [2, 8, 4, 4], training)
        .variables.all()
        .map(({ name, shape, kind }) => [name, shape, kind]);
    expect(of(true)).toEqual(of(false));
  });

  test.each([
    [[2, 3, 4, 3], true],
    [[2, 3, 4, 3], false],
    [[3, 5, 1, 1], true],
    [[1, 8, 3, 5], false],
  ] as [Shape, boolean][])(
    "has the derivative of central differences for x %j, training %s",
    (shape, training) => {
      const { x, y, variables } = build(spec, options, shape, training);
      const parameters = variables.tensors("parameter");
      const given = new Map<Tensor, ArrayLike<number>>([[x, normal(shape, "x")]]);
      for (const tensor of variables.tensors()) {
        const variance = tensor.label.endsWith("running_var");
        given.set(tensor, (variance ? positive : normal)(tensor.shape, variableOf(tensor).name));
      }
      expectNone(gradientErrors(y, [x, ...parameters], given));
    },
  );
});

/** Two runs forward and backward, the input's own border cases among them. */
function runnable(spec: AttentionSpec, options: Options, shape: Shape, training: boolean): Runnable {
  const { x, y, nn, variables } = build(spec, options, shape, training);
  const targets = [x, ...variables.tensors("parameter")];
  const gradients = gradient(y, input("dy", y.shape), targets);
  const outputs = Object.fromEntries(targets.map(({ label }, k) => [`grad ${label}`, gradients[k]]));
  const run = { x: normal(shape, "x"), dy: normal(shape, "dy") };
  return { variables, graph: { outputs: { y, ...outputs }, effects: nn.effects }, runs: [run, run] };
}

describeEngines("attention agrees with the oracle", (engine) => {
  test.each(all)("%s", async (_, spec, options) => {
    for (const training of [true, false]) {
      for (const shape of [
        [3, 17, 5, 4],
        [2, 8, 1, 1],
        [1, 33, 7, 3],
      ]) {
        const at = runnable(spec, options, shape, training);
        expectNone(differences(await runOn(engine, at), runOnOracle(at), 2e-4));
      }
    }
  });

  test.each(all)(
    "%s gives the same after its weights were written to a file and read",
    async (_, spec, options) => {
      const shape = [2, 17, 4, 3];
      const { y, variables } = build(spec, options, shape, false);
      const [trained, fresh] = [0, 1].map(() => engine.open(variables.all()));
      const run = async (store: Store) =>
        (await store.compile({ outputs: { y }, effects: [] }).run({ x: normal(shape, "x") }))["y"];
      for (const { name, shape } of variables.all()) trained.write(name, positive(shape, name));
      const tensors = variables
        .all()
        .map(({ name, shape }) => [name, { shape, values: trained.read(name) }] as const);
      const file = readSafetensors(writeSafetensors(new Map(tensors)));
      for (const [name, tensor] of file.tensors) fresh.write(name, floatsOf(tensor));
      expect(await run(fresh)).toEqual(await run(trained));
      trained.close();
      fresh.close();
    },
  );
});
