import type { Graph, Values } from "../compile/graph.ts";
import { expectSize, fed } from "../compile/inputs.ts";
import { encode, type FlatProgram, lower, type Place, placeVariables } from "../compile/lower.ts";
import { optimize } from "../compile/passes/index.ts";
import { UserError } from "../tensor/errors.ts";
import { reorder } from "../tensor/layout.ts";
import { sizeOf, type Variable } from "../tensor/tensor.ts";
import type { Addon, AddonArena, AddonProgram } from "./addon.ts";
import type { CompileOptions, Engine, Executable, SnapshotPlan, Store } from "./engine.ts";
import { memory } from "./memory.ts";
import { Queue } from "./queue.ts";

/** Node hands out no larger piece of memory as one array. */
const MOST_BYTES = 2 ** 32;

export class NativeEngine implements Engine {
  readonly name = "native";
  readonly description: string;
  readonly threads: number;
  readonly #addon: Addon;
  readonly #isa: string;
  readonly #passes: boolean;

  /** @param passes whether compile passes rewrite the graph; without them every op is a record of its own. */
  constructor(addon: Addon, threads: number, isa = "", passes = true) {
    this.#addon = addon;
    this.#isa = isa;
    this.#passes = passes;
    this.threads = threads;
    const arena = new addon.Arena(0, 1, isa);
    this.description = `native engine (${arena.isa}, ${threads} thread${threads === 1 ? "" : "s"})`;
  }

  open(variables: Iterable<Variable>): NativeStore {
    return new NativeStore(this.#addon, [...variables], this.threads, this.#isa, this.#passes);
  }

  /** Multiply-adds a second that the processor reaches on registers alone: the measure of every kernel. */
  peak(): number {
    return this.#addon.peak(this.threads, this.#isa);
  }
}

/** An executable that tells where its time goes. */
export interface NativeExecutable extends Executable {
  readonly program: FlatProgram;
  /** Seconds spent in each record since the last reset. */
  times(): Float64Array;
  resetTimes(): void;
}

export class NativeStore implements Store {
  readonly variables: ReadonlyMap<string, Variable>;
  readonly #addon: Addon;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #floats: number;
  readonly #queue = new Queue();
  readonly #passes: boolean;
  #arena: AddonArena | undefined;
  #memory: Float32Array;

  constructor(addon: Addon, variables: readonly Variable[], threads: number, isa: string, passes: boolean) {
    this.#addon = addon;
    this.#passes = passes;
    this.variables = new Map(variables.map((variable) => [variable.name, variable]));
    const { places, floats } = placeVariables(this.variables.values());
    this.#places = places;
    this.#floats = floats;
    if (4 * floats > MOST_BYTES) throw tooLarge("its parameters and the optimiser's slots", 4 * floats);
    this.#arena = inMemory("its parameters and the optimiser's slots", 4 * floats, () => {
      return new addon.Arena(floats, threads, isa);
    });
    this.#memory = this.#arena.variables();
    for (const { name, shape, initialize } of this.variables.values()) {
      const initial = new Float32Array(sizeOf(shape));
      initialize(initial);
      this.write(name, initial);
    }
  }

  get #open(): AddonArena {
    if (!this.#arena) throw new Error("the store is closed");
    return this.#arena;
  }

  /** The variable's own memory, in the order the kernels keep it (channels last, OIHW as HWIO). */
  view(name: string): Float32Array {
    const place = this.#places.get(name);
    if (!place) throw new Error(`no variable is called ${name}`);
    return this.#memory.subarray(place.offset, place.offset + place.floats);
  }

  get snapshotPlan(): SnapshotPlan {
    const offsets = new Map([...this.#places].map(([name, { offset }]) => [name, offset]));
    return { floats: this.#floats, offsets, physical: true };
  }

  snapshot(into: Float32Array): void {
    into.set(this.#memory);
  }

  read(name: string): Float32Array {
    const { shape, layout } = this.variables.get(name) ?? missing(name);
    const values = new Float32Array(sizeOf(shape));
    reorder(this.view(name), values, shape, layout, false);
    return values;
  }

  write(name: string, values: Float32Array): void {
    const { shape, layout } = this.variables.get(name) ?? missing(name);
    expectSize(name, values, shape);
    reorder(values, this.view(name), shape, layout, true);
    this.#open.changed();
  }

  compile(graph: Graph, { keepsWeights = false }: CompileOptions = {}): NativeExecutable {
    const arena = this.#open;
    const program = lower(this.#passes ? optimize(graph) : graph, this.#places, this.#floats);
    const code = encode(program, arena.kernels);
    const native = new this.#addon.Program(arena, code, program.scratchFloats, keepsWeights);
    const writes = graph.effects.length > 0;
    // one for all runs: a new one each time would cost more than filling it
    const physical = new Map(
      [...program.inputs].map(([name, { place }]) => [name, new Float32Array(place.floats)]),
    );
    return {
      program,
      inputs: new Map([...program.inputs].map(([name, { tensor }]) => [name, tensor.shape])),
      scratchBytes: 4 * program.scratchFloats,
      run: (feeds) => this.#queue.run(() => this.#run(program, native, writes, physical, feeds)),
      times: () => native.times(),
      resetTimes: () => native.resetTimes(),
    };
  }

  async #run(
    program: FlatProgram,
    native: AddonProgram,
    writes: boolean,
    physical: ReadonlyMap<string, Float32Array>,
    feeds: Values,
  ): Promise<Record<string, Float32Array>> {
    const arena = this.#open;
    inMemory("a step", 4 * program.scratchFloats, () => native.reserve());
    for (const [name, { tensor, place }] of program.inputs) {
      const values = physical.get(name)!;
      reorder(fed(feeds, name, tensor.shape), values, tensor.shape, tensor.layout, true);
      arena.write(place.offset - this.#floats, values);
    }
    await native.run();
    if (writes) arena.changed();
    const outputs: Record<string, Float32Array> = {};
    for (const [name, { tensor, place }] of program.outputs) {
      const values = new Float32Array(place.floats);
      if (place.offset < this.#floats)
        values.set(this.#memory.subarray(place.offset, place.offset + place.floats));
      else arena.read(place.offset - this.#floats, values);
      outputs[name] = new Float32Array(place.floats);
      reorder(values, outputs[name], tensor.shape, tensor.layout, false);
    }
    return outputs;
  }

  close(): void {
    const arena = this.#arena;
    if (arena) void this.#queue.run(() => arena.release());
    this.#arena = undefined;
    this.#memory = new Float32Array(0);
  }
}

function tooLarge(what: string, bytes: number): UserError {
  return new UserError(
    `the model is too large for this machine: ${what} need ${memory(bytes)}: take a smaller batch or model`,
  );
}

/** @throws UserError when the addon runs out of memory. */
function inMemory<T>(what: string, bytes: number, allocate: () => T): T {
  try {
    return allocate();
  } catch (error) {
    throw error instanceof Error && error.message === "out of memory" ? tooLarge(what, bytes) : error;
  }
}

function missing(name: string): never {
  throw new Error(`no variable is called ${name}`);
}
