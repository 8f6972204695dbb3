import { topologicalOrder } from "../autodiff/gradient.ts";
import { addOp } from "../ops/elementwise.ts";
import { type Node, nodeOf, type Op } from "../ops/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Graph, rootsOf } from "./graph.ts";

export type OpNode = Node & { readonly op: Op };

/** What a rule may know: the node, its inputs already rewritten, and who reads a tensor. */
export interface Place extends OpNode {
  /** Its output before the pass. */
  readonly old: Tensor;
  /** Applications that read this one, as they were before the pass. */
  readonly readers: readonly OpNode[];
  /** What stands in for a tensor of the old graph, where the pass has been there. */
  now(old: Tensor): Tensor | undefined;
  /** What stands in for a tensor of the old graph that does not need this one, wherever the pass has been. */
  ahead(old: Tensor): Tensor;
  /** The node behind an input when it is an application of this op and nobody else reads it; this one does so `times`. */
  only<A>(input: Tensor, op: Op<A>, times?: number): (Node<A> & { readonly op: Op }) | undefined;
}

/** The node behind a tensor when it is an application of this op. */
export function applied<A>(
  x: Tensor | undefined,
  { name }: Op<A>,
): (Node<A> & { readonly op: Op }) | undefined {
  const node = x && nodeOf(x);
  return node?.op.name === name ? (node as Node<A> & { readonly op: Op }) : undefined;
}

export const sameAttrs = (a: Node, b: Node) => JSON.stringify(a.attrs) === JSON.stringify(b.attrs);

/** The two applications of this op, alike but for their inputs, whose sum a place is; nothing else reads them. */
export function addends<A>({ op, inputs: [x, y], only }: Place, of: Op<A>) {
  if (op.name !== addOp.name || x === y) return undefined;
  const [left, right] = [only(x, of), only(y, of)];
  return left && right && sameAttrs(left, right) ? { left, right } : undefined;
}

/** Returns what stands in for the node, or undefined to leave it. */
export type Rule = (place: Place) => Tensor | undefined;

/** What makes one graph of another that computes the same; the graph it gets stays as it is. */
export interface Pass {
  readonly name: string;
  /** What it does, for people who read programs. */
  readonly summary: string;
  run(graph: Graph): Graph;
}

/** The run of a pass that tries one rule at every node, inputs first; `begin` makes the rule for one graph. */
export const byRule =
  (begin: (graph: Graph) => Rule): Pass["run"] =>
  (graph) =>
    rewrite(graph, begin(graph));

function rewrite(graph: Graph, rule: Rule): Graph {
  const roots = rootsOf(graph);
  const order = topologicalOrder(roots);
  const readers = new Map<Tensor, OpNode[]>();
  const counts = new Map<Tensor, number>();
  const count = (x: Tensor) => counts.set(x, (counts.get(x) ?? 0) + 1);
  for (const root of roots) count(root);
  for (const node of order.flatMap((x) => nodeOf(x) ?? [])) {
    for (const x of node.inputs) {
      count(x);
      readers.set(x, [...(readers.get(x) ?? []), node]);
    }
  }

  const replaced = new Map<Tensor, Tensor>();
  const reads = new Map<Tensor, number>(); // of the new tensors
  const now = (x: Tensor) => replaced.get(x);
  const ahead = (x: Tensor): Tensor => {
    if (!replaced.has(x)) topologicalOrder([x]).forEach(rewriteOnce);
    return replaced.get(x)!;
  };
  const rewriteOnce = (x: Tensor) => {
    if (replaced.has(x)) return;
    const y = rewritten(x, { now, ahead }, reads, readers.get(x) ?? [], rule);
    replaced.set(x, y);
    reads.set(y, (reads.get(y) ?? 0) + (counts.get(x) ?? 0));
  };
  order.forEach(rewriteOnce);
  const at = (x: Tensor) => replaced.get(x)!;
  return {
    outputs: Object.fromEntries(Object.entries(graph.outputs).map(([name, x]) => [name, at(x)])),
    effects: graph.effects.map(at),
  };
}

function rewritten(
  x: Tensor,
  { now, ahead }: Pick<Place, "now" | "ahead">,
  reads: ReadonlyMap<Tensor, number>,
  readers: readonly OpNode[],
  rule: Rule,
): Tensor {
  const node = nodeOf(x);
  if (!node) return x;
  const inputs = node.inputs.map((input) => now(input)!);
  const changed = inputs.some((input, k) => input !== node.inputs[k]);
  const output: Tensor = changed
    ? { ...x, source: { kind: "op", op: node.op, inputs, attrs: node.attrs } }
    : x;
  const only: Place["only"] = (input, op, times = 1) => {
    const source = nodeOf(input);
    if (source?.op.name !== op.name || reads.get(input) !== times) return undefined;
    return source as ReturnType<Place["only"]> as never;
  };
  const place = { ...node, old: x, inputs, output, only, readers, now, ahead };
  const result = rule(place) ?? output;
  result.label ||= x.label;
  return result;
}
