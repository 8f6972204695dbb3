import { gradCamGraph } from "../../src/cam/graphs.ts";
import { defaultLayer, findMapLayer, mapLayers } from "../../src/cam/layers.ts";
import { clipped, finished } from "../../src/cam/map.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { buildModel } from "../../src/models/build.ts";
import { Variables } from "../../src/nn/scope.ts";
import type { Trained } from "../../src/train/trained.ts";
import { writeWeights } from "../../src/train/weights.ts";

/** Logits [N,K] and finished maps [N,H,W] of our own engine, for images that are normalised already. */
export async function lookAt(trained: Trained, engine: Engine, images: Float32Array, layer?: string) {
  const { model, image, weights } = trained;
  const batch = images.length / (3 * image[0] * image[1]);
  const variables = new Variables(0);
  const built = buildModel(model, variables, { batch, image, training: false });
  const layers = mapLayers(built);
  const name = layer ?? defaultLayer(layers);
  const { shape } = findMapLayer(layers, name);
  const store = engine.open(variables.all());
  try {
    writeWeights(store, weights);
    const values = await store.compile(gradCamGraph(built, layers.get(name)!, "predicted")).run({ images });
    const [, , h, w] = shape;
    const raw = Array.from({ length: batch }, (_, n) => values["map"].subarray(n * h * w, (n + 1) * h * w));
    const maps = raw.map((one) => finished(one, h, w, ...image));
    const small = Float32Array.from(raw.flatMap((one) => [...clipped(one)]));
    const pixels = image[0] * image[1];
    const large = new Float32Array(batch * pixels);
    for (const [n, one] of maps.entries()) large.set(one, n * pixels);
    return { logits: values["logits"], small, map: large, layer: name };
  } finally {
    store.close();
  }
}

/** What a model takes for RGB in 0 to 1. images [N,3,H,W]. */
export function normalize(
  images: Float32Array,
  { normalization: { mean, std }, image }: Trained,
): Float32Array {
  const plane = image[0] * image[1];
  return images.map((value, i) => {
    const channel = Math.floor(i / plane) % 3;
    return (value - mean[channel]) / std[channel];
  });
}
