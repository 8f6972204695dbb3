import type { Planes } from "./spec.ts";

/** Clips at 0 and divides by the maximum; a map that is 0 or below throughout becomes 0. Values that are no numbers count as 0. */
export function clipped(raw: Float32Array): Float32Array {
  let top = 0;
  for (const value of raw) if (value > top && value < Number.POSITIVE_INFINITY) top = value;
  return raw.map((value) => (value > 0 && top > 0 ? Math.min(1, value / top) : 0));
}

/**
 * The finished map: clipped, its minimum taken away, divided by its maximum, resized (bilinear, half-pixel
 * centres, edges clamped), its minimum taken away and divided by its maximum again. raw [h,w] → [H,W] from 0 to 1.
 */
export function finished(raw: Float32Array, h: number, w: number, H: number, W: number): Float32Array {
  return spread(resized(spread(clipped(raw)), h, w, H, W));
}

/** Less the minimum, over the maximum; a constant map becomes 0. */
export function spread(map: Float32Array): Float32Array {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of map) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return map.map((value) => (high > low ? (value - low) / (high - low) : 0));
}

/** Where samples along an axis fall between those of another. */
interface Axis {
  readonly below: Int32Array;
  readonly above: Int32Array;
  readonly share: Float64Array;
}

function axis(from: number, to: number, at: (k: number) => number): Axis {
  const below = new Int32Array(to);
  const above = new Int32Array(to);
  const share = new Float64Array(to);
  for (let k = 0; k < to; k++) {
    const place = Math.min(from - 1, Math.max(0, at(k)));
    below[k] = Math.floor(place);
    above[k] = Math.min(from - 1, below[k] + 1);
    share[k] = place - below[k];
  }
  return { below, above, share };
}

function interpolated(map: Float32Array, w: number, rows: Axis, columns: Axis): Float32Array {
  const [H, W] = [rows.share.length, columns.share.length];
  const out = new Float32Array(H * W);
  for (let y = 0; y < H; y++) {
    const [top, bottom, dy] = [rows.below[y] * w, rows.above[y] * w, rows.share[y]];
    for (let x = 0; x < W; x++) {
      const [left, right, dx] = [columns.below[x], columns.above[x], columns.share[x]];
      const upper = map[top + left] + dx * (map[top + right] - map[top + left]);
      const lower = map[bottom + left] + dx * (map[bottom + right] - map[bottom + left]);
      out[y * W + x] = upper + dy * (lower - upper);
    }
  }
  return out;
}

/** Bilinear, half-pixel centres, edges clamped: [h,w] → [H,W]. */
export function resized(map: Float32Array, h: number, w: number, H: number, W: number): Float32Array {
  if (h === H && w === W) return map;
  const halves = (from: number, to: number) => axis(from, to, (k) => ((k + 0.5) * from) / to - 0.5);
  return interpolated(map, w, halves(h, H), halves(w, W));
}

/** Bilinear with aligned corners: [h,w] → [H,W]. */
export function resizeCorners(map: Float32Array, h: number, w: number, H: number, W: number): Float32Array {
  const corners = (from: number, to: number) =>
    axis(from, to, (k) => (to > 1 ? (k * (from - 1)) / (to - 1) : 0));
  return interpolated(map, w, corners(h, H), corners(w, W));
}

/** Largest magnitude over the channels of each pixel. */
export function largestMagnitude({ values, channels, pixels }: Planes): Float32Array {
  const map = new Float32Array(pixels);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < pixels; p++) map[p] = Math.max(map[p], Math.abs(values[c * pixels + p]));
  }
  return map;
}
