import type { Polygon } from "./outlines.ts";

/** Maps a point of an outline to the image, in pixels: x' = a·x + b·y + e, y' = c·x + d·y + f. */
export interface Placement {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly e: number;
  readonly f: number;
}

/**
 * Share of each pixel that the polygons cover: `coverage` [H·W], 0 to 1, is overwritten; `scratch` has H·(W + 1)
 * numbers. Exact, also where an outline leaves the image.
 */
export function rasterize(
  polygons: readonly Polygon[],
  at: Placement,
  height: number,
  width: number,
  coverage: Float64Array,
  scratch: Float64Array,
): void {
  scratch.fill(0);
  for (const polygon of polygons) {
    const count = polygon.length;
    for (let i = 0; i < count; i += 2) {
      const x0 = polygon[i];
      const y0 = polygon[i + 1];
      const x1 = polygon[(i + 2) % count];
      const y1 = polygon[(i + 3) % count];
      addEdge(
        scratch,
        height,
        width,
        at.a * x0 + at.b * y0 + at.e,
        at.c * x0 + at.d * y0 + at.f,
        at.a * x1 + at.b * y1 + at.e,
        at.c * x1 + at.d * y1 + at.f,
      );
    }
  }
  for (let y = 0; y < height; y++) {
    let sum = 0;
    for (let x = 0; x < width; x++) {
      sum += scratch[y * (width + 1) + x];
      coverage[y * width + x] = Math.min(1, Math.abs(sum));
    }
  }
}

/**
 * Adds an edge to the differences along rows whose running sum is the covered share: in each row the edge
 * covers everything to its right by its height, and a pixel that it crosses by the area right of it.
 */
function addEdge(
  rows: Float64Array,
  height: number,
  width: number,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
) {
  if (y0 === y1) return;
  for (const border of [0, width]) {
    if ((x0 - border) * (x1 - border) >= 0) continue;
    const y = y0 + ((border - x0) * (y1 - y0)) / (x1 - x0);
    addEdge(rows, height, width, x0, y0, border, y);
    addEdge(rows, height, width, border, y, x1, y1);
    return;
  }
  const sign = y0 < y1 ? 1 : -1;
  if (sign < 0) [x0, y0, x1, y1] = [x1, y1, x0, y0];
  const slope = (x1 - x0) / (y1 - y0);
  const clampX = (x: number) => Math.min(width, Math.max(0, x));
  for (let row = Math.max(0, Math.floor(y0)); row < Math.min(height, Math.ceil(y1)); row++) {
    const top = Math.max(row, y0);
    const bottom = Math.min(row + 1, y1);
    const tall = sign * (bottom - top);
    const from = clampX(x0 + (top - y0) * slope);
    const to = clampX(x0 + (bottom - y0) * slope);
    const left = Math.min(from, to);
    const right = Math.max(from, to);
    const at = row * (width + 1);
    const first = Math.min(width - 1, Math.floor(left));
    const last = Math.max(first, Math.ceil(right) - 1);
    let passed = 0;
    let covered = 0;
    for (let x = first; x <= last; x++) {
      const l = Math.max(left, x);
      const r = Math.min(right, x + 1);
      const here = right > left ? (tall * (r - l)) / (right - left) : tall;
      const next = passed + here * (x + 1 - (l + r) / 2);
      rows[at + x] += next - covered;
      covered = next;
      passed += here;
    }
    rows[at + last + 1] += tall - covered;
  }
}
