import { buildModel } from "../../src/models/build.ts";
import type { ResNet } from "../../src/models/resnet.ts";
import { Variables } from "../../src/nn/scope.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import type { Trained } from "../../src/train/trained.ts";
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
