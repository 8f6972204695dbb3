import type { Engine } from "../../src/engine/engine.ts";
import { type Shape, variableOf } from "../../src/tensor/tensor.ts";
import { difference } from "../support/compare.ts";
import {
  applied,
  defaultTolerance,
  type OpCase,
  type OpCases,
  oracleOf,
  tensorsOf,
  valuesOf,
} from "./cases/types.ts";

export interface Result {
  readonly name: string;
  readonly values: Float32Array;
  readonly shape: Shape;
}

export interface PreparedCase {
  /** Runs the op once on these operands; its output, or the variables it overwrites. */
  run(values: readonly Float32Array[]): Promise<Result[]>;
  /** Operands that the op changed though it must not. */
  spoilt(values: readonly Float32Array[]): string[];
  close(): void;
}

/** Compiles one application for an engine; operands are fed, or variables of the store. */
export function prepareCase(engine: Engine, cases: OpCases, at: OpCase, asVariables: boolean): PreparedCase {
  const { op } = cases;
  const tensors = tensorsOf(cases, at, asVariables);
  const result = applied(cases, at, tensors);
  const kept = tensors.filter((x) => x.source.kind === "variable");
  const store = engine.open(kept.map(variableOf));
  const program = store.compile(
    op.writes ? { outputs: {}, effects: [result] } : { outputs: { output: result }, effects: [] },
  );
  const indexOf = (name: string) => Number(name.slice("operand".length));
  return {
    run: async (values) => {
      for (const { label } of kept) store.write(label, values[indexOf(label)]);
      const feeds = Object.fromEntries(
        tensors.flatMap((x, k) => (x.source.kind === "input" ? [[x.source.name, values[k]]] : [])),
      );
      const outputs = await program.run(feeds);
      if (!op.writes) return [{ name: "output", values: outputs["output"], shape: result.shape }];
      return op.writes.map((k) => ({
        name: `operand${k}`,
        values: store.read(`operand${k}`),
        shape: at.operands[k].shape,
      }));
    },
    spoilt: (values) =>
      kept.flatMap(({ label, shape }) => {
        const k = indexOf(label);
        if (op.writes?.includes(k)) return [];
        return difference(store.read(label), values[k], shape, 0) ? [label] : [];
      }),
    close: () => store.close(),
  };
}

type Expected = ReturnType<typeof oracleOf>;

/** Values of every case's operands and what the oracle makes of them, computed once. */
const known = new WeakMap<OpCase, { values: Float32Array[]; expected: Expected }>();

export function expectedOf(cases: OpCases, at: OpCase) {
  let result = known.get(at);
  if (!result) {
    const values = valuesOf(at);
    known.set(at, (result = { values, expected: oracleOf(cases, at, values) }));
  }
  return result;
}

/** Says how results differ from the oracle's, part by part where the op has parts of unlike magnitude. */
export function resultErrors(
  cases: OpCases,
  at: OpCase,
  results: readonly Result[],
  expected: Expected,
  mayBeNaN?: (index: number) => boolean,
): string[] {
  const tolerance = cases.tolerance?.value ?? defaultTolerance;
  return results.flatMap(({ name, values, shape }, k) => {
    const wanted = expected[k].values;
    const parts = cases.parts && !cases.op.writes ? cases.parts(at.operands[0].shape) : [];
    const ranges = parts.length > 0 ? parts : [[0, wanted.length] as const];
    return ranges.flatMap(([from, to]) => {
      const whole = from === 0 && to === wanted.length;
      const said = difference(
        values.subarray(from, to),
        wanted.subarray(from, to),
        whole ? shape : [to - from],
        tolerance,
        mayBeNaN && ((index) => mayBeNaN(from + index)),
      );
      return said ? [`${at.title}: ${name}${whole ? "" : ` from ${from}`}: ${said}`] : [];
    });
  });
}
