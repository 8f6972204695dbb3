import { Random } from "../random/random.ts";
import type { Planes } from "./spec.ts";

const MOST_ITERATIONS = 5000;
const CONVERGED = 1e-10;

/**
 * The pixels' activations along their first principal component: X·v, X [h·w,C] with centred columns and v its first
 * right singular vector, of either sign. Computed from the smaller of X·Xᵀ and Xᵀ·X. Numbers that are none count as 0.
 */
export function projection({ values, channels, pixels }: Planes): Float64Array {
  const x = centred(values, channels, pixels);
  const map = new Float64Array(pixels);
  if (channels <= pixels) {
    // v itself
    const { vector } = leading(gramOfRows(x, channels, pixels), channels);
    for (let c = 0; c < channels; c++) {
      for (let p = 0; p < pixels; p++) map[p] += vector[c] * x[c * pixels + p];
    }
    return map;
  }
  // X·v = σ·u, u the first eigenvector of X·Xᵀ and σ² its eigenvalue
  const { vector, value } = leading(gramOfColumns(x, channels, pixels), pixels);
  return map.map((_, p) => Math.sqrt(Math.max(0, value)) * vector[p]);
}

/** `projection`, signed so that it correlates with the sum over the channels. */
export function alignedProjection(planes: Planes): Float32Array {
  const map = projection(planes);
  const sums = new Float64Array(planes.pixels);
  planes.values.forEach((value, i) => {
    if (Number.isFinite(value)) sums[i % planes.pixels] += value;
  });
  const mean = sums.reduce((a, b) => a + b, 0) / planes.pixels;
  const agreement = map.reduce((sum, value, p) => sum + value * (sums[p] - mean), 0);
  return Float32Array.from(map, (value) => (agreement < 0 ? -value : value));
}

/** `projection`, signed so that its extreme is positive. */
export function extremeProjection(planes: Planes): Float32Array {
  const map = projection(planes);
  const [low, high] = [map.reduce((a, b) => Math.min(a, b)), map.reduce((a, b) => Math.max(a, b))];
  return Float32Array.from(map, (value) => (Math.abs(low) > Math.abs(high) ? -value : value));
}

/** Each channel less its mean over the pixels. */
function centred(values: Float32Array, channels: number, pixels: number): Float64Array {
  const x = Float64Array.from(values, (value) => (Number.isNaN(value) ? 0 : value));
  for (let c = 0; c < channels; c++) {
    const row = x.subarray(c * pixels, (c + 1) * pixels);
    let sum = 0;
    for (const value of row) sum += value;
    for (let p = 0; p < pixels; p++) row[p] -= sum / pixels;
  }
  return x;
}

function gramOfRows(x: Float64Array, rows: number, length: number): Float64Array {
  const gram = new Float64Array(rows * rows);
  for (let a = 0; a < rows; a++) {
    for (let b = 0; b <= a; b++) {
      let sum = 0;
      for (let p = 0; p < length; p++) sum += x[a * length + p] * x[b * length + p];
      gram[a * rows + b] = gram[b * rows + a] = sum;
    }
  }
  return gram;
}

function gramOfColumns(x: Float64Array, rows: number, length: number): Float64Array {
  const gram = new Float64Array(length * length);
  for (let c = 0; c < rows; c++) {
    const row = x.subarray(c * length, (c + 1) * length);
    for (let p = 0; p < length; p++) {
      const value = row[p];
      if (value === 0) continue;
      for (let q = 0; q <= p; q++) gram[p * length + q] += value * row[q];
    }
  }
  for (let p = 0; p < length; p++) for (let q = 0; q < p; q++) gram[q * length + p] = gram[p * length + q];
  return gram;
}

/** Largest eigenvalue of a symmetric matrix [n,n] without negative ones, and its eigenvector, by power iteration. */
function leading(matrix: Float64Array, n: number): { readonly vector: Float64Array; readonly value: number } {
  // chance makes it orthogonal to no eigenvector, as a column of the matrix may be
  const random = new Random("eigen");
  let vector = normalized(Float64Array.from({ length: n }, () => random.normal()));
  let value = 0;
  for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    const next = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += matrix[i * n + j] * vector[j];
      next[i] = sum;
    }
    value = Math.sqrt(next.reduce((sum, v) => sum + v * v, 0));
    if (value === 0) break;
    for (let i = 0; i < n; i++) next[i] /= value;
    const change = next.reduce((top, v, i) => Math.max(top, Math.abs(v - vector[i])), 0);
    vector = next;
    if (change < CONVERGED) break;
  }
  return { vector, value };
}

function normalized(vector: Float64Array): Float64Array {
  const length = Math.sqrt(vector.reduce((sum, v) => sum + v * v, 0));
  return length > 0 ? vector.map((v) => v / length) : vector;
}
