import { topologicalOrder } from "../autodiff/gradient.ts";
import { isView, nodeOf } from "../ops/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Graph, rootsOf } from "./graph.ts";

/**
 * Order in which a graph is computed: each tensor after its inputs, and an op that overwrites a variable after
 * everything that reads the old value.
 */
export function schedule(graph: Graph): Tensor[] {
  const roots = rootsOf(graph);
  const readers = new Map<Tensor, Tensor[]>();
  for (const tensor of topologicalOrder(roots)) {
    for (const x of (nodeOf(tensor)?.inputs ?? []).map(seen)) {
      if (x.source.kind !== "variable") continue;
      const known = readers.get(x);
      if (known) known.push(tensor);
      else readers.set(x, [tensor]);
    }
  }
  const before = (tensor: Tensor) => {
    const node = nodeOf(tensor);
    const written = node?.op.writes?.map((k) => node.inputs[k]) ?? [];
    return written.flatMap((x) => (readers.get(x) ?? []).filter((reader) => reader !== tensor));
  };
  return topologicalOrder(roots, before);
}

/** The tensor whose memory a view looks at. */
function seen(x: Tensor): Tensor {
  const node = nodeOf(x);
  return node && isView(node) ? seen(node.inputs[0]) : x;
}

const inputsOf = (tensor: Tensor): readonly Tensor[] => nodeOf(tensor)?.inputs ?? [];

/** Position of the last tensor in `order` that reads each tensor. */
export function lastUses(
  order: readonly Tensor[],
  read: (tensor: Tensor) => readonly Tensor[] = inputsOf,
): Map<Tensor, number> {
  const last = new Map<Tensor, number>();
  order.forEach((tensor, position) => {
    for (const x of read(tensor)) last.set(x, position);
  });
  return last;
}
