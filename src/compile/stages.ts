import type { Variable } from "../tensor/tensor.ts";
import type { Graph } from "./graph.ts";
import { type FlatProgram, lower, type ProgramRecord, placeVariables } from "./lower.ts";
import { passes } from "./passes/index.ts";

/** The flat program as it is after so many passes. */
export interface Stage {
  /** Of the last pass, or what stands for none. */
  readonly name: string;
  readonly summary: string;
  readonly program: FlatProgram;
}

/** The program before any pass and after each; the last is what the native engine runs. */
export function stagesOf(graph: Graph, variables: Iterable<Variable>): Stage[] {
  const { places, floats } = placeVariables(variables);
  const stages: Stage[] = [];
  const add = (name: string, summary: string) =>
    stages.push({ name, summary, program: lower(graph, places, floats) });
  add("before any pass", "every op that computes is a record");
  for (const pass of passes) {
    graph = pass.run(graph);
    add(pass.name, pass.summary);
  }
  return stages;
}

/** A record that only one of two programs has. */
export interface Change {
  readonly kind: "gone" | "new";
  /** In its own program. */
  readonly index: number;
  readonly record: ProgramRecord;
}

/** What two programs do not share, layer by layer, what is gone first; a record that only moved is shared. */
export function changesBetween(before: FlatProgram, after: FlatProgram): Change[] {
  const changes = [...unmatched(before, after, "gone"), ...unmatched(after, before, "new")];
  const rank = layerRanks(before, after);
  return changes.sort((a, b) => rank.get(a.record.label)! - rank.get(b.record.label)!);
}

function unmatched(program: FlatProgram, other: FlatProgram, kind: Change["kind"]): Change[] {
  const left = new Map<string, number>();
  for (const record of other.records) left.set(saying(record), (left.get(saying(record)) ?? 0) + 1);
  return program.records.flatMap((record, index) => {
    const count = left.get(saying(record)) ?? 0;
    left.set(saying(record), count - 1);
    return count > 0 ? [] : [{ kind, index, record }];
  });
}

/** Equal for records that do the same at the same place of the model. */
const saying = ({ kernel, label, params, reads, writes }: ProgramRecord) =>
  JSON.stringify([kernel, label, params, [...reads, ...writes].map(({ shape }) => shape)]);

/** Order of the layers as the first program meets them; a layer it has not comes after its neighbour in the second. */
function layerRanks(before: FlatProgram, after: FlatProgram): Map<string, number> {
  const ranks = new Map<string, number>();
  before.records.forEach(({ label }, index) => {
    if (!ranks.has(label)) ranks.set(label, index);
  });
  let last = -1;
  for (const { label } of after.records) {
    if (!ranks.has(label)) ranks.set(label, last);
    last = ranks.get(label)!;
  }
  return ranks;
}
