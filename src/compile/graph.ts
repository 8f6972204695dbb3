import type { Tensor } from "../tensor/tensor.ts";

/** What one run of a program computes: named outputs, and effects that overwrite variables. */
export interface Graph {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly effects: readonly Tensor[];
}

/** What a graph is computed for. */
export const rootsOf = ({ outputs, effects }: Graph): Tensor[] => [...Object.values(outputs), ...effects];

export type Values = Readonly<Record<string, Float32Array>>;
