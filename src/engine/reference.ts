import type { Graph, Values } from "../compile/graph.ts";
import { expectSize, fed, inputsOf, shapesOf } from "../compile/inputs.ts";
import { lastUses, schedule } from "../compile/schedule.ts";
import { nodeOf } from "../ops/op.ts";
import { sizeOf, type Tensor, type Variable, variableOf } from "../tensor/tensor.ts";
import type { Engine, Executable, SnapshotPlan, Store } from "./engine.ts";
import { Queue } from "./queue.ts";

/** Interprets the graph itself in float64, one op after the other: the oracle, and the engine without a compiler. */
export const referenceEngine: Engine = {
  name: "reference",
  description: "reference engine (float64 loops in JavaScript, slow)",
  open: (variables) => new ReferenceStore(variables),
};

/** Names of the variables that the graph's effects overwrite. */
function writtenVariables(graph: Graph): string[] {
  return graph.effects.flatMap((effect) => {
    const node = nodeOf(effect);
    const written = node?.op.writes?.map((k) => node.inputs[k]) ?? [];
    return written.map((x) => variableOf(x).name);
  });
}

/** Most that is held at once between ops. */
function peakBytes(graph: Graph, order: readonly Tensor[]): number {
  const kept = new Set(Object.values(graph.outputs));
  const last = lastUses(order);
  const bytes = (x: Tensor) => (x.source.kind === "variable" ? 0 : 8 * sizeOf(x.shape));
  let [held, peak] = [0, 0];
  order.forEach((tensor, position) => {
    held += bytes(tensor);
    peak = Math.max(peak, held);
    for (const x of new Set(nodeOf(tensor)?.inputs)) {
      if (last.get(x) === position && !kept.has(x)) held -= bytes(x);
    }
  });
  return peak;
}

const roundTo32 = (value: number, index: number, all: Float64Array) => {
  all[index] = Math.fround(value);
};

class ReferenceStore implements Store {
  readonly variables: ReadonlyMap<string, Variable>;
  readonly #values = new Map<string, Float64Array>();
  readonly #queue = new Queue();

  constructor(variables: Iterable<Variable>) {
    this.variables = new Map([...variables].map((variable) => [variable.name, variable]));
    for (const variable of this.variables.values()) {
      const initial = new Float32Array(sizeOf(variable.shape));
      variable.initialize(initial);
      this.#values.set(variable.name, Float64Array.from(initial));
    }
  }

  #of(name: string): Float64Array {
    const values = this.#values.get(name);
    if (!values) throw new Error(`no variable is called ${name}`);
    return values;
  }

  get snapshotPlan(): SnapshotPlan {
    const offsets = new Map<string, number>();
    let floats = 0;
    for (const [name, { length }] of this.#values) {
      offsets.set(name, floats);
      floats += length;
    }
    return { floats, offsets, physical: false };
  }

  snapshot(into: Float32Array): void {
    let at = 0;
    for (const values of this.#values.values()) {
      into.set(values, at);
      at += values.length;
    }
  }

  read(name: string): Float32Array {
    return Float32Array.from(this.#of(name));
  }

  write(name: string, values: Float32Array): void {
    const target = this.#of(name);
    expectSize(name, values, this.variables.get(name)!.shape);
    target.set(values);
  }

  compile(graph: Graph): Executable {
    const order = schedule(graph);
    const inputs = inputsOf(order);
    const written = writtenVariables(graph);
    return {
      inputs: shapesOf(inputs),
      scratchBytes: peakBytes(graph, order),
      run: (feeds) => this.#queue.run(() => this.#run(graph, order, written, feeds)),
    };
  }

  #run(
    graph: Graph,
    order: readonly Tensor[],
    written: readonly string[],
    feeds: Values,
  ): Record<string, Float32Array> {
    const kept = new Set(Object.values(graph.outputs));
    const last = lastUses(order);
    const values = new Map<Tensor, Float64Array>();
    order.forEach((tensor, position) => {
      values.set(tensor, this.#compute(tensor, values, feeds));
      for (const x of nodeOf(tensor)?.inputs ?? []) {
        if (last.get(x) === position && !kept.has(x)) values.delete(x);
      }
    });
    // between runs variables are float32, as in checkpoints: to go on from one is to go on from here
    for (const name of written) this.#of(name).forEach(roundTo32);
    const outputs = Object.entries(graph.outputs);
    return Object.fromEntries(outputs.map(([name, x]) => [name, Float32Array.from(values.get(x)!)]));
  }

  #compute(tensor: Tensor, values: ReadonlyMap<Tensor, Float64Array>, feeds: Values): Float64Array {
    const { source } = tensor;
    if (source.kind === "variable") return this.#of(source.variable.name);
    if (source.kind === "input") return Float64Array.from(fed(feeds, source.name, tensor.shape));
    const output = new Float64Array(sizeOf(tensor.shape));
    source.op.reference({
      inputs: source.inputs.map((x) => values.get(x)!),
      shapes: source.inputs.map((x) => x.shape),
      attrs: source.attrs,
      output,
      outputShape: tensor.shape,
    });
    return output;
  }

  close(): void {
    this.#values.clear();
  }
}
