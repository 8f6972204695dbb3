import type { Engine } from "../../src/engine/engine.ts";
import { buildModel } from "../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../src/models/options.ts";
import type { ResNet } from "../../src/models/resnet.ts";
import { Variables } from "../../src/nn/scope.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import type { Trained } from "../../src/train/trained.ts";
import { writeWeights } from "../../src/train/weights.ts";
import { normal, positive } from "./values.ts";

/** A model as if it had been trained: no weight, statistic or gate is one of those that leave things as they are. */
export function madeUp(
  model: ResNet,
  image: readonly [number, number] = [32, 32],
  more: Partial<Trained> = {},
): Trained {
  const variables = new Variables(7);
  buildModel(model, variables, { batch: 1, image, training: false });
  const weights = variables.all().map(({ name, shape, initialize }) => {
    const values = new Float32Array(sizeOf(shape));
    initialize(values);
    if (/running_var$/.test(name)) values.set(positive(shape, name));
    else if (shape.length === 1) {
      const around = /weight$/.test(name) ? 0.8 : 0;
      values.set(normal(shape, name).map((value) => around + 0.2 * value));
    }
    return [name, values] as const;
  });
  return {
    model,
    classes: Array.from({ length: model.classes }, (_, k) => `kind ${k}`),
    normalization: { mean: [0.5, 0.4, 0.3], std: [0.25, 0.2, 0.3] },
    image,
    variant: "made-up",
    seed: 7,
    ...more,
    weights: new Map(weights),
  };
}

/** The same of a small ResNet of five classes. */
export function madeUpSmall(options: ModelOptions, image: readonly [number, number] = [16, 16]): Trained {
  const size = { name: "resnet14", depths: [2, 1], widths: [4, 6], strides: [1, 2], expansion: 2 };
  return madeUp(resolveModel({ ...size, ...options }, 5), image, {
    classes: ["cat", "dog", "bird", "frog", "ship"],
  });
}

/** Logits [N,classes] of images [N,3,H,W]. */
export async function logitsOf(
  { model, image, weights }: Trained,
  images: Float32Array,
  engine: Engine,
): Promise<Float32Array> {
  const variables = new Variables(0);
  const batch = images.length / (3 * image[0] * image[1]);
  const { logits } = buildModel(model, variables, { batch, image, training: false });
  const store = engine.open(variables.all());
  try {
    writeWeights(store, weights);
    const outputs = await store.compile({ outputs: { logits }, effects: [] }).run({ images });
    return Float32Array.from(outputs["logits"]);
  } finally {
    store.close();
  }
}

/** Softmax of each row. */
export function probabilitiesOf(logits: ArrayLike<number>, classes: number): number[] {
  const rows = Array.from({ length: logits.length / classes }, (_, n) =>
    Array.from({ length: classes }, (_, k) => logits[n * classes + k]),
  );
  return rows.flatMap((row) => {
    const top = Math.max(...row);
    const powers = row.map((x) => Math.exp(x - top));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((x) => x / sum);
  });
}

export const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce(
    (most, x, i) => Math.max(most, Number.isNaN(x - b[i]) ? Infinity : Math.abs(x - b[i])),
    0,
  );
