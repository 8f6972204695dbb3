import { buildModel, type ModelSummary, summarize } from "../models/build.ts";
import { resolveModel } from "../models/options.ts";
import type { ResNet } from "../models/resnet.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import type { TrainOptions } from "../train/types.ts";
import type { Pace } from "./measure.ts";
import { type DataOutline, validationOf } from "./settings.ts";
import type { Study } from "./study.ts";

/** What training a variant with one seed would mean. */
export interface PlannedVariant {
  readonly variant: string;
  readonly model: ResNet;
  readonly train: TrainOptions;
  readonly parameters: number;
  readonly statistics: number;
  /** One image, forward. */
  readonly multiplyAdds: number;
  readonly stepsPerEpoch: number;
  readonly trainImages: number;
  /** Judged after every epoch. */
  readonly validationImages: number;
  readonly testImages: number;
}

/** Everything that a study would do with data of this outline, variant by variant. @throws UserError as resolveModel, or when nothing is left to train on. */
export function planStudy(study: Study, outline: DataOutline): PlannedVariant[] {
  const validation = validationOf(study.data, outline);
  const held = validation === "test" ? 0 : validation;
  const trainImages = outline.train.count - held;
  if (trainImages < 1) {
    throw new UserError(
      `validation: ${held} images asked for, but there are ${outline.train.count} training images: ask for fewer`,
    );
  }
  return study.variants.map(({ name, model: options, train }) => {
    const model = resolveModel(options, outline.classes.length);
    const { parameters, statistics, multiplyAdds } = countModel(model, [outline.height, outline.width]);
    return {
      variant: name,
      model,
      train,
      parameters,
      statistics,
      multiplyAdds,
      stepsPerEpoch: Math.ceil(trainImages / train.batch),
      trainImages,
      validationImages: validation === "test" ? outline.test.count : validation,
      testImages: outline.test.count,
    };
  });
}

/** Layers, parameters and multiply-adds of a model for one image of [height, width]. */
export function countModel(model: ResNet, image: readonly [number, number]): ModelSummary {
  const variables = new Variables(0);
  return summarize(buildModel(model, variables, { batch: 1, image, training: false }), variables);
}

/** Time that a planned run takes at this pace: all epochs with their judging, and the test. */
export function expectedMs(plan: PlannedVariant, { trainMsPerImage, evaluateMsPerImage }: Pace): number {
  const { train, trainImages, validationImages, testImages } = plan;
  const epoch = trainImages * trainMsPerImage + validationImages * evaluateMsPerImage;
  return train.epochs * epoch + testImages * evaluateMsPerImage;
}
