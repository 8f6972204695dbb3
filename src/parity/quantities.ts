import { gradient } from "../autodiff/gradient.ts";
import type { Graph } from "../compile/graph.ts";
import type { Engine, Store } from "../engine/engine.ts";
import { buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import { crossEntropy } from "../ops/loss.ts";
import { constant } from "../ops/shape.ts";
import { UserError } from "../tensor/errors.ts";
import { input, sameShape, showShape, sizeOf } from "../tensor/tensor.ts";
import { trainingGraph } from "../train/graphs.ts";
import type { ParityCase, Training } from "./case.ts";

/** Computed values by name, in logical order. */
export type Computed = ReadonlyMap<string, ArrayLike<number>>;

/** A store of the model's variables, in the case's initial state. */
function open(at: ParityCase, engine: Engine, variables: Variables): Store {
  const path = `${at.folder}/model.safetensors`;
  const known = new Set<string>();
  for (const { name, shape, kind } of variables.all()) {
    if (kind === "slot") continue;
    known.add(name);
    const tensor = at.initial.get(name);
    if (!tensor) throw new UserError(`${path}: has no tensor ${name} ${showShape(shape)}`);
    if (!sameShape(tensor.shape, shape)) {
      throw new UserError(`${path}: ${name} must be ${showShape(shape)}, is ${showShape(tensor.shape)}`);
    }
  }
  const strange = [...at.initial.keys()].find((name) => !known.has(name));
  if (strange) throw new UserError(`${path}: ${strange} has no place in the architecture of case.json`);
  const store = engine.open(variables.all());
  for (const name of known) store.write(name, at.initial.get(name)!.values);
  return store;
}

/** Runs a graph in a store of its own. */
async function withStore<T>(
  at: ParityCase,
  engine: Engine,
  variables: Variables,
  graph: Graph,
  use: (
    store: Store,
    run: (feeds?: Record<string, Float32Array>) => Promise<Record<string, Float32Array>>,
  ) => Promise<T>,
): Promise<T> {
  const store = open(at, engine, variables);
  try {
    const program = store.compile(graph);
    const batch: Record<string, Float32Array> = { images: at.images, labels: at.labels };
    const feeds = Object.fromEntries(Object.entries(batch).filter(([name]) => program.inputs.has(name)));
    return await use(store, (more) => program.run({ ...feeds, ...more }));
  } finally {
    store.close();
  }
}

const read = (store: Store, variables: Variables, kind: "parameter" | "statistic"): Computed =>
  new Map(variables.tensors(kind).map(({ label }) => [label, store.read(label)]));

/** `logits`, `probabilities` and `loss` in evaluation mode. */
export async function evaluate(at: ParityCase, engine: Engine): Promise<Computed> {
  const variables = new Variables(0);
  const { logits } = buildModel(at.model, variables, { ...at, training: false });
  const loss = crossEntropy(logits, input("labels", [at.batch]));
  return withStore(at, engine, variables, { outputs: { logits, loss }, effects: [] }, async (_, run) =>
    outputsOf(await run(), at.model.classes),
  );
}

const outputsOf = ({ logits, loss }: Record<string, Float32Array>, classes: number): Computed =>
  new Map<string, ArrayLike<number>>([
    ["logits", logits],
    ["probabilities", softmax(logits, classes)],
    ["loss", loss],
  ]);

function softmax(logits: Float32Array, classes: number): Float64Array {
  const result = Float64Array.from(logits);
  for (let from = 0; from < result.length; from += classes) {
    const row = result.subarray(from, from + classes);
    const top = row.reduce((a, b) => Math.max(a, b));
    const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    row.forEach((x, k) => {
      row[k] = Math.exp(x - top) / total;
    });
  }
  return result;
}

/** One forward and backward pass in training mode: outputs, gradients, running statistics after it. */
export async function differentiate(at: ParityCase, engine: Engine) {
  const variables = new Variables(0);
  const { logits, nn } = buildModel(at.model, variables, { ...at, training: true });
  const loss = crossEntropy(logits, input("labels", [at.batch]));
  const parameters = variables.tensors("parameter");
  const gradients = gradient(loss, constant(loss.shape, 1), parameters);
  const named = Object.fromEntries(parameters.map(({ label }, k) => [`grad.${label}`, gradients[k]]));
  const graph = { outputs: { logits, loss, ...named }, effects: nn.effects };
  return withStore(at, engine, variables, graph, async (store, run) => {
    const outputs = await run();
    return {
      outputs: outputsOf(outputs, at.model.classes),
      gradients: new Map(parameters.map(({ label }) => [label, outputs[`grad.${label}`]])) as Computed,
      statistics: read(store, variables, "statistic"),
    };
  });
}

/** The steps of an optimiser on the case's batch: the loss before each, and the state after the last. */
export async function train(at: ParityCase, engine: Engine, { optimizer, steps }: Training) {
  const variables = new Variables(0);
  const graph = trainingGraph(at.model, variables, optimizer, at);
  return withStore(at, engine, variables, graph, async (store, run) => {
    const losses = new Float32Array(steps);
    for (let step = 0; step < steps; step++) {
      const rates = optimizer.rates(step, optimizer.options.lr);
      losses[step] = (await run({ rates }))["loss"][0];
    }
    const [parameters, statistics] = (["parameter", "statistic"] as const).map((kind) =>
      read(store, variables, kind),
    );
    return { losses, parameters, statistics };
  });
}

/** Count of the model's parameters. */
export function countParameters(at: ParityCase): number {
  const variables = new Variables(0);
  buildModel(at.model, variables, { ...at, training: false });
  return variables.tensors("parameter").reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
