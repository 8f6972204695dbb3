import type { Graph } from "../../src/compile/graph.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Variables } from "../../src/nn/scope.ts";
import type { Shape, Tensor } from "../../src/tensor/tensor.ts";
import { bitDifference, difference } from "./compare.ts";
import { evaluate } from "./evaluate.ts";

/** A graph with all it needs to run: variables, and feeds for each of its runs. */
export interface Runnable {
  readonly variables: Variables;
  readonly graph: Graph;
  readonly runs: readonly Readonly<Record<string, Float32Array>>[];
}

export interface RunResult {
  readonly name: string;
  readonly shape: Shape;
  readonly values: Float32Array;
}

/** Outputs of every run, then the variables after the last. */
export async function runOn(engine: Engine, { variables, graph, runs }: Runnable): Promise<RunResult[]> {
  const store = engine.open(variables.all());
  try {
    const program = store.compile(graph);
    const results: RunResult[] = [];
    for (const [k, feeds] of runs.entries()) {
      const outputs = await program.run(feeds);
      for (const [name, { shape }] of Object.entries(graph.outputs)) {
        results.push({ name: `run ${k}: ${name}`, shape, values: outputs[name] });
      }
    }
    for (const { name, shape } of variables.all()) results.push({ name, shape, values: store.read(name) });
    return results;
  } finally {
    store.close();
  }
}

/** The same by the oracle, in float64 throughout. */
export function runOnOracle({ variables, graph, runs }: Runnable): Float64Array[] {
  const state = new Map<Tensor, Float64Array>();
  for (const tensor of variables.tensors()) {
    if (tensor.source.kind !== "variable") continue;
    const start = new Float32Array(tensor.shape.reduce((size, length) => size * length, 1));
    tensor.source.variable.initialize(start);
    state.set(tensor, Float64Array.from(start));
  }
  const names = Object.keys(graph.outputs);
  const results: Float64Array[] = [];
  for (const feeds of runs) {
    const { outputs, written } = evaluate(
      names.map((name) => graph.outputs[name]),
      state,
      graph.effects,
      feeds,
    );
    results.push(...outputs);
    for (const [tensor, values] of written) state.set(tensor, values);
  }
  return [...results, ...variables.tensors().map((tensor) => state.get(tensor)!)];
}

export const differences = (
  results: readonly RunResult[],
  expected: readonly ArrayLike<number>[],
  tolerance: number,
): string[] =>
  results.flatMap(({ name, shape, values }, k) => {
    const said = difference(values, expected[k], shape, tolerance);
    return said ? [`${name}: ${said}`] : [];
  });

export const bitDifferences = (a: readonly RunResult[], b: readonly RunResult[]): string[] =>
  a.flatMap(({ name, shape, values }, k) => {
    const said = bitDifference(values, b[k].values, shape);
    return said ? [`${name}: ${said}`] : [];
  });
