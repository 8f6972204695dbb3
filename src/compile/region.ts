import { topologicalOrder } from "../autodiff/gradient.ts";
import { defineOp, type Node, nodeOf, type ReferenceCall } from "../ops/op.ts";
import { sizeOf, type Tensor } from "../tensor/tensor.ts";
import { encodeRegion, replaceable } from "./region-program.ts";

/** Several pixelwise ops as one. */
export interface RegionAttrs {
  /** What is computed, from inputs called "0", "1", … that stand for the region's own. */
  readonly roots: readonly Tensor[];
  /** Which root is this op's output. */
  readonly index: number;
}

function evaluate({ inputs, attrs: { roots, index }, output }: ReferenceCall<RegionAttrs>): void {
  const values = new Map<Tensor, Float64Array>();
  for (const tensor of topologicalOrder([roots[index]])) {
    const node = nodeOf(tensor);
    if (!node) {
      values.set(tensor, inputs[tensor.source.kind === "input" ? Number(tensor.source.name) : -1]);
      continue;
    }
    const result = new Float64Array(sizeOf(tensor.shape));
    node.op.reference({
      inputs: node.inputs.map((x) => values.get(x)!),
      shapes: node.inputs.map((x) => x.shape),
      attrs: node.attrs,
      output: result,
      outputShape: tensor.shape,
    });
    values.set(tensor, result);
  }
  output.set(values.get(roots[index])!);
}

/** The first root, in one walk over memory with the others. Inputs and roots fit one shape [N,C,H,W]. */
export const regionOp = defineOp<RegionAttrs>({
  name: "region",
  shape: (_, { roots }) => roots[0].shape,
  layout: "activation",
  vjp: null,
  reference: evaluate,
  native: ({ inputs, attrs: { roots } }) => ({ kernel: "region", params: encodeRegion(inputs, roots) }),
  inPlace: ({ inputs, attrs: { roots } }: Node<RegionAttrs>) => replaceable(inputs, roots, 0),
  parts: ({ attrs: { roots } }) => topologicalOrder(roots).flatMap((x) => nodeOf(x)?.op.name ?? []),
});

/** A further root of a region. Inputs: the region, then the region's own. */
export const regionAlongOp = defineOp<RegionAttrs>({
  name: "region_along",
  shape: (_, { roots, index }) => roots[index].shape,
  layout: "activation",
  vjp: null,
  reference: (call) => evaluate({ ...call, inputs: call.inputs.slice(1) }),
  native: ({ attrs: { index } }) => ({ along: 0, place: index }),
  inPlace: ({ inputs: [, ...inputs], attrs: { roots, index } }: Node<RegionAttrs>) =>
    replaceable(inputs, roots, index).map((k) => k + 1),
});
