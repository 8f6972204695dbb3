import type { Graph, Values } from "../compile/graph.ts";
import type { Shape, Variable } from "../tensor/tensor.ts";

/** A compiled graph. */
export interface Executable {
  /** Inputs the graph reads, by name. */
  readonly inputs: ReadonlyMap<string, Shape>;
  /** Memory the program needs beside the variables. */
  readonly scratchBytes: number;
  /**
   * Runs the program once, off the event loop. Values in and out are in logical order (NCHW, OIHW).
   * Runs of one store are queued one after the other.
   */
  run(feeds: Values): Promise<Record<string, Float32Array>>;
}

/** How the values of all variables lie in a copy of them. */
export interface SnapshotPlan {
  readonly floats: number;
  /** Where each variable begins, in floats. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Whether each lies there in the order of `physicalOrder`, else in logical order. */
  readonly physical: boolean;
}

export interface CompileOptions {
  /**
   * Whether weights stay in memory as the kernels want them, in the room they take again: for programs that run often
   * before a variable changes.
   */
  readonly keepsWeights?: boolean;
}

/** The variables of one training and the programs that share them. */
export interface Store {
  readonly variables: ReadonlyMap<string, Variable>;
  readonly snapshotPlan: SnapshotPlan;
  /** Copies all variables as they are, quickly; not while a program that overwrites some runs. */
  snapshot(into: Float32Array): void;
  /** A copy of a variable's values in logical order. */
  read(name: string): Float32Array;
  /** Overwrites a variable from values in logical order. */
  write(name: string, values: Float32Array): void;
  compile(graph: Graph, options?: CompileOptions): Executable;
  close(): void;
}

export interface Engine {
  readonly name: "native" | "reference";
  /** For the record of a run: threads, instruction set. */
  readonly description: string;
  /** Allocates and initialises the variables. */
  open(variables: Iterable<Variable>): Store;
}
