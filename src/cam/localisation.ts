import { pixelOrder } from "./faithfulness.ts";

export interface Localisation {
  readonly pointing: 0 | 1;
  readonly energy: number;
  readonly iou: number;
}

/**
 * Where a finished map [H,W] lies against the object's mask, 1 on the object: the pointing game (1608.00507), the
 * energy inside the object (1910.01279, section 4.3), and the intersection over union at the best threshold. All are 0
 * where the map is.
 */
export function localisation(map: Float32Array, mask: Uint8Array): Localisation {
  const order = pixelOrder(map);
  let [sum, inside, object] = [0, 0, 0];
  map.forEach((value, p) => {
    sum += value;
    if (mask[p] !== 0) inside += value;
    if (mask[p] !== 0) object++;
  });
  if (sum === 0) return { pointing: 0, energy: 0, iou: 0 };
  let [hits, best] = [0, 0];
  order.forEach((p, k) => {
    if (mask[p] !== 0) hits++;
    const last = k + 1 === order.length || map[order[k + 1]] < map[p];
    // a threshold takes all pixels of equal value, or none
    if (last) best = Math.max(best, hits / (k + 1 + object - hits));
  });
  return { pointing: mask[order[0]] !== 0 ? 1 : 0, energy: inside / sum, iou: best };
}

/** Spearman's rank correlation, ties sharing their mean rank; 0 where either is constant. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [ranks(a), ranks(b)];
  const mean = (x.length - 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) ** 2;
    yy += (y[i] - mean) ** 2;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
}

function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const rank = new Float64Array(values.length);
  for (let first = 0; first < order.length; ) {
    let last = first;
    while (last + 1 < order.length && values[order[last + 1]] === values[order[first]]) last++;
    for (let k = first; k <= last; k++) rank[order[k]] = (first + last) / 2;
    first = last + 1;
  }
  return rank;
}
