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
  const rank = shape.length;
  const order = physicalOrder(layout, rank);
  if (order.every((axis, position) => axis === position)) {
    to.set(from);
    return;
  }
  const dims = [...new Array(4 - rank).fill(1), ...shape];
  const strides = [...new Array(4 - rank).fill(0), ...physicalStrides({ shape, layout })];
  let logical = 0;
  for (let a = 0; a < dims[0]; a++) {
    for (let b = 0; b < dims[1]; b++) {
      for (let c = 0; c < dims[2]; c++) {
        let physical = a * strides[0] + b * strides[1] + c * strides[2];
        for (let d = 0; d < dims[3]; d++, logical++, physical += strides[3]) {
          if (toPhysical) to[physical] = from[logical];
          else to[logical] = from[physical];
        }
      }
    }
  }
}
