import { ShapeError } from "../tensor/errors.ts";
import { physicalOrder, physicalStrides } from "../tensor/layout.ts";
import { type Shape, showShape, type Tensor } from "../tensor/tensor.ts";

/** NumPy's rule: shapes are aligned at the end; a length of 1 or a missing axis stretches. */
export function broadcastShape(op: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  if (rank > 4)
    throw new ShapeError(op, `${showShape(a)} and ${showShape(b)}: at most 4 dimensions broadcast`);
  return Array.from({ length: rank }, (_, axis) => {
    const la = a[axis - rank + a.length] ?? 1;
    const lb = b[axis - rank + b.length] ?? 1;
    if (la !== lb && la !== 1 && lb !== 1) {
      throw new ShapeError(
        op,
        `${showShape(a)} and ${showShape(b)} do not broadcast: axis ${axis} has ${la} and ${lb}`,
      );
    }
    return Math.max(la, lb) * Math.min(la, lb, 1);
  });
}

/** Strides of a tensor seen through a larger shape: 0 along stretched axes. */
function stretch(shape: Shape, strides: readonly number[], to: Shape): number[] {
  return to.map((_, axis) => {
    const own = axis - to.length + shape.length;
    return own < 0 || shape[own] === 1 ? 0 : strides[own];
  });
}

/** Logical (row-major) strides of `shape` stretched to `to`. */
export function expandedStrides(shape: Shape, to: Shape): number[] {
  const strides = new Array<number>(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; step *= shape[axis], axis--) strides[axis] = step;
  return stretch(shape, strides, to);
}

/** Visits every element of `shape` in order, with the matching index into each strided operand. */
export function forEachBroadcast(
  shape: Shape,
  strides: readonly number[][],
  visit: (at: number, indices: number[]) => void,
): void {
  const rank = shape.length;
  const position = new Array<number>(rank).fill(0);
  const indices = strides.map(() => 0);
  const size = shape.reduce((product, length) => product * length, 1);
  for (let at = 0; at < size; at++) {
    visit(at, indices);
    for (let axis = rank - 1; axis >= 0; axis--) {
      position[axis]++;
      for (let k = 0; k < indices.length; k++) indices[k] += strides[k][axis];
      if (position[axis] < shape[axis]) break;
      for (let k = 0; k < indices.length; k++) indices[k] -= strides[k][axis] * shape[axis];
      position[axis] = 0;
    }
  }
}

/**
 * Four extents in the physical order of `full`, then four physical strides for each operand, for the kernels. Axes
 * that lie behind each other in all of them are one.
 */
export function broadcastParams(full: Tensor, operands: readonly Tensor[]): number[] {
  const strides = operands.map((x) => stretch(x.shape, physicalStrides(x), full.shape));
  const axes: { extent: number; strides: number[] }[] = [];
  for (const axis of physicalOrder(full.layout, full.shape.length)) {
    const extent = full.shape[axis];
    if (extent === 1) continue;
    const inner = strides.map((of) => of[axis]);
    const outer = axes.at(-1);
    if (outer?.strides.every((stride, k) => stride === inner[k] * extent)) {
      axes[axes.length - 1] = { extent: outer.extent * extent, strides: inner };
    } else {
      axes.push({ extent, strides: inner });
    }
  }
  const pad = (values: number[], fill: number) => [...new Array(4 - values.length).fill(fill), ...values];
  const extents = axes.map(({ extent }) => extent);
  const along = (k: number) => axes.map((axis) => axis.strides[k]);
  return [...pad(extents, 1), ...operands.flatMap((_, k) => pad(along(k), 0))];
}
