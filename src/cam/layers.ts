import { topologicalOrder } from "../autodiff/gradient.ts";
import { nearest } from "../files/nearest.ts";
import { shorten } from "../files/shorten.ts";
import type { BuiltModel } from "../models/build.ts";
import { UserError } from "../tensor/errors.ts";
import { sameShape, type Tensor } from "../tensor/tensor.ts";

/** Ends the name of what Keras has in one layer with its kernel, and this program in two. */
const OWN_ACTIVATION = ".activation";

/**
 * Layers with maps [N,C,h,w] that the logits depend on, in the order in which they are computed. One that has an
 * activation of its own, as Keras' may, is looked at behind it.
 */
export function mapLayers({ logits, nn }: Pick<BuiltModel, "logits" | "nn">): Map<string, Tensor> {
  const reached = new Set(topologicalOrder([logits]));
  const maps = new Map([...nn.layers].filter(([, x]) => x.shape.length === 4 && reached.has(x)));
  for (const [name, x] of maps) {
    if (!name.endsWith(OWN_ACTIVATION)) continue;
    const layer = name.slice(0, -OWN_ACTIVATION.length);
    if (!sameShape(maps.get(layer)?.shape ?? [], x.shape)) continue;
    maps.set(layer, x);
    maps.delete(name);
  }
  return maps;
}

const pixelsOf = ({ shape: [, , h, w] }: Tensor) => h * w;
const isOutermost = (name: string) => !name.includes(".");

/**
 * Names of layers that are made of others, which are computed before them. Graphs of single layers have none, however
 * they are called.
 */
function stagesOf(layers: ReadonlyMap<string, Tensor>): ReadonlySet<string> {
  const names = [...layers.keys()];
  const lastInside = new Map(
    names.flatMap((name, k) => (isOutermost(name) ? [] : [[name.split(".")[0], k] as const])),
  );
  return new Set(names.filter((name, k) => (lastInside.get(name) ?? names.length) < k));
}

/** Layers worth naming to people: the outermost ones where there are stages, else all, the deepest first. */
function worthNaming(layers: ReadonlyMap<string, Tensor>): (readonly [string, Tensor])[] {
  const useful = [...layers].filter(([, x]) => pixelsOf(x) > 1).reverse();
  const stages = stagesOf(layers);
  return useful.some(([name]) => stages.has(name)) ? useful.filter(([name]) => isOutermost(name)) : useful;
}

/** A network that keeps no two pixels apart. */
export class NoMaps extends UserError {
  override name = "NoMaps";
}

const LISTED = 6;

/** Such as `layer4 (2×2), layer3 (4×4)`. */
export function layersThatWork(layers: ReadonlyMap<string, Tensor>): string {
  const named = worthNaming(layers)
    .slice(0, LISTED)
    .map(
      ([
        name,
        {
          shape: [, , h, w],
        },
      ]) => `${name} (${h}×${w})`,
    );
  return named.length > 0 ? named.join(", ") : "none of this model's";
}

/** The last stage with more than one pixel, or the last such layer; undefined where there is none. */
export const deepestLayer = (layers: ReadonlyMap<string, Tensor>): string | undefined =>
  worthNaming(layers)[0]?.[0];

/** The layer that maps are taken at when nobody says. @throws NoMaps when no layer has more than one pixel. */
export function defaultLayer(layers: ReadonlyMap<string, Tensor>): string {
  const name = deepestLayer(layers);
  if (name !== undefined) return name;
  throw new NoMaps("this model has no layer with more than one pixel: there is nothing to draw a map of");
}

/** The last stage where it is passed over because it has one pixel. */
export function passedOver(layers: ReadonlyMap<string, Tensor>, taken: string): string | undefined {
  const names = [...layers.keys()];
  const stages = stagesOf(layers);
  return names
    .slice(names.indexOf(taken) + 1)
    .filter((name) => stages.has(name))
    .at(-1);
}

/** @throws UserError with the nearest name and layers that work. */
export function findLayer(layers: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const found = layers.get(name);
  if (found) return found;
  const close = nearest(name, layers.keys());
  const hint = close ? `did you mean ${close}? ` : "";
  throw new UserError(
    `layer "${shorten(name)}": the model has no layer of that name whose output is a map: ${hint}there are ${layersThatWork(layers)}; atento model lists all`,
  );
}

/** The same, of more than one pixel. @throws UserError with layers that work. */
export function findMapLayer(layers: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const found = findLayer(layers, name);
  if (pixelsOf(found) > 1) return found;
  throw new UserError(
    `layer "${shorten(name)}" is 1×1: its map says nothing of places: there are ${layersThatWork(layers)}`,
  );
}
