import { add } from "../ops/elementwise.ts";
import { nodeOf } from "../ops/op.ts";
import { sameShape, showShape, type Tensor } from "../tensor/tensor.ts";

/** Every tensor that `roots` depend on, each after its inputs and after what `before` adds to them. */
export function topologicalOrder(
  roots: readonly Tensor[],
  before: (tensor: Tensor) => readonly Tensor[] = () => [],
): Tensor[] {
  const order: Tensor[] = [];
  const seen = new Set<Tensor>();
  const stack = roots.map((tensor) => ({ tensor, expanded: false })).reverse();
  while (stack.length > 0) {
    const { tensor, expanded } = stack.pop()!;
    if (expanded) {
      order.push(tensor);
      continue;
    }
    if (seen.has(tensor)) continue;
    seen.add(tensor);
    stack.push({ tensor, expanded: true });
    const dependencies = [...(nodeOf(tensor)?.inputs ?? []), ...before(tensor)];
    for (const x of dependencies.reverse()) stack.push({ tensor: x, expanded: false });
  }
  return order;
}

/**
 * Gradients of Σ seed·y with respect to `targets`, as new graph nodes, by reverse mode.
 *
 * @param y any tensor; @param seed same shape as y; @param targets inputs, variables or inner tensors.
 * @throws Error when y does not depend on a target, or an op on the way has no derivative.
 */
export function gradient(y: Tensor, seed: Tensor, targets: readonly Tensor[]): Tensor[] {
  if (!sameShape(y.shape, seed.shape)) {
    throw new Error(`gradient: seed ${showShape(seed.shape)} does not fit y ${showShape(y.shape)}`);
  }
  const order = topologicalOrder([y]);
  const wanted = new Set(targets);
  const leads = new Set<Tensor>(); // tensors through which a target is reached
  for (const tensor of order) {
    if (wanted.has(tensor) || nodeOf(tensor)?.inputs.some((x) => leads.has(x))) leads.add(tensor);
  }
  const gradients = new Map<Tensor, Tensor>([[y, seed]]);
  for (const tensor of order.reverse()) {
    const dy = gradients.get(tensor);
    const node = nodeOf(tensor);
    if (!dy || !node?.inputs.some((x) => leads.has(x))) continue;
    if (!node.op.vjp) throw new Error(`${tensor.label || node.op.name}: ${node.op.name} has no derivative`);
    const parts = node.op.vjp(dy, node);
    node.inputs.forEach((x, k) => {
      const part = parts[k];
      if (!part || !leads.has(x)) return;
      part.label ||= tensor.label;
      const sum = gradients.get(x);
      gradients.set(x, sum ? add(sum, part) : part);
    });
  }
  return targets.map((target) => {
    const result = gradients.get(target);
    if (!result) throw new Error(`gradient: y does not depend on ${target.label || showShape(target.shape)}`);
    return result;
  });
}
