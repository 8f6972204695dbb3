import type { Tensor } from "../tensor/tensor.ts";
import type { RawMaps } from "./explainer.ts";
import { layersThatWork, passedOver } from "./layers.ts";

/**
 * What people should know of maps, a line each: that they have one pixel, are taken at another stage than the last
 * because that has one, or are the same throughout.
 * @param unasked the layer that was taken because nobody asked for any.
 */
export function notesOn(
  maps: readonly RawMaps[],
  count: number,
  image: readonly [number, number],
  layers: ReadonlyMap<string, Tensor>,
  unasked: string | undefined,
): string[] {
  const [H, W] = image;
  const single = new Set(maps.filter(({ height, width }) => height * width === 1).map(({ layer }) => layer));
  const notes = [...single].map(
    (layer) =>
      `${layer} is 1×1 for images of ${H}×${W}: its maps say nothing of places; there are ${layersThatWork(layers)}`,
  );
  const last = unasked && passedOver(layers, unasked);
  if (last && maps.some(({ layer }) => layer === unasked))
    notes.push(`${last} is 1×1 for images of ${H}×${W}: maps are taken at ${unasked} instead`);
  for (const { method, layer, height, width, values } of maps) {
    const size = height * width;
    let zero = 0;
    for (let k = 0; k < count; k++) {
      const own = values.subarray(k * size, (k + 1) * size);
      if (!own.some((value) => value > 0) || own.every((value) => value === own[0])) zero++;
    }
    if (zero === 0 || single.has(layer)) continue;
    const which = count === 1 ? "the map is" : `${zero} of ${count} maps are`;
    notes.push(
      `${method.name} at ${layer}: ${which} 0 or the same throughout, nothing there points at a place: take another method or layer, such as ${layersThatWork(layers)}`,
    );
  }
  return notes;
}
