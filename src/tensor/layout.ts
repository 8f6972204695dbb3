import type { Layout, Shape, Tensor } from "./tensor.ts";

/**
 * Order in which the native engine keeps the logical axes, outermost first: activations channels last
 * [N,H,W,C], kernels [KH,KW,I,O] and [I,O]; anything else as it is.
 */
export function physicalOrder(layout: Layout, rank: number): readonly number[] {
  if (rank === 4) return layout === "kernel" ? [2, 3, 1, 0] : [0, 2, 3, 1];
  if (rank === 2 && layout === "kernel") return [1, 0];
  return Array.from({ length: rank }, (_, axis) => axis);
}

/** Distance in elements between neighbours along each logical axis, as the native engine keeps the tensor. */
export function physicalStrides({ shape, layout }: Pick<Tensor, "shape" | "layout">): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (const axis of [...physicalOrder(layout, shape.length)].reverse()) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** Whether both tensors enumerate the same elements in the same order, so that one can be a view of the other. */
export function sameMemoryOrder(a: Tensor, b: Tensor): boolean {
  const order = (x: Tensor) => {
    const strides = physicalStrides(x);
    // axes of length 1 do not matter; what remains must be met in logical order with equal extents
    return x.shape.flatMap((length, axis) => (length === 1 ? [] : [[length, strides[axis]]])).join(";");
  };
  if (order(a) === order(b)) return true;
  const contiguous = (x: Tensor) => {
    let step = 1;
    const strides = physicalStrides(x);
    for (let axis = x.shape.length - 1; axis >= 0; axis--) {
      if (x.shape[axis] !== 1 && strides[axis] !== step) return false;
      step *= x.shape[axis];
    }
    return true;
  };
  return contiguous(a) && contiguous(b);
}

/** Copies between logical order and the native engine's; `toPhysical` tells the direction. */
export function reorder(
  from: Float32Array,
  to: Float32Array,
  shape: Shape,
  layout: Layout,
  toPhysical: boolean,
): void {
  const swap = swapOf(shape, layout);
  if (!swap) {
    to.set(from);
    return;
  }
  const { batches, outer, middle, inner } = swap;
  for (let n = 0, at = 0; n < batches; n++, at += outer * middle * inner) {
    for (let a = 0; a < outer; a += BLOCK) {
      for (let b = 0; b < middle; b += BLOCK) {
        swapBlock(from, to, at, swap, a, b, toPhysical);
      }
    }
  }
}

/** Axes of both orders taken together: logical [batches, outer, middle, inner], physical [batches, inner, middle, outer]. */
interface Swap {
  readonly batches: number;
  readonly outer: number;
  readonly middle: number;
  readonly inner: number;
}

/** Undefined when both orders are one. */
function swapOf(shape: Shape, layout: Layout): Swap | undefined {
  const [n, c, h, w] = shape;
  if (shape.length === 4) {
    if (layout === "kernel") return { batches: 1, outer: n, middle: c, inner: h * w };
    return { batches: n, outer: c, middle: h * w, inner: 1 };
  }
  return shape.length === 2 && layout === "kernel"
    ? { batches: 1, outer: n, middle: c, inner: 1 }
    : undefined;
}

/** Floats of a cache line: blocks of lines are used up before they leave the cache. */
const BLOCK = 16;

function swapBlock(
  from: Float32Array,
  to: Float32Array,
  at: number,
  { outer, middle, inner }: Swap,
  firstA: number,
  firstB: number,
  toPhysical: boolean,
): void {
  const endA = Math.min(outer, firstA + BLOCK);
  const endB = Math.min(middle, firstB + BLOCK);
  for (let r = 0; r < inner; r++) {
    for (let a = firstA; a < endA; a++) {
      let logical = at + (a * middle + firstB) * inner + r;
      let physical = at + (r * middle + firstB) * outer + a;
      // one loop each way: a choice inside would take as long as the copy
      if (toPhysical) {
        for (let b = firstB; b < endB; b++, logical += inner, physical += outer) to[physical] = from[logical];
      } else {
        for (let b = firstB; b < endB; b++, logical += inner, physical += outer) to[logical] = from[physical];
      }
    }
  }
}
