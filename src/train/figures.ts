import { buildModel, summarize } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import type { Sums } from "./metrics.ts";
import type { EpochRecord, EpochTiming, Evaluation, RunFigures, RunSettings } from "./types.ts";

/** Means of an epoch's sums. */
export function meansOf({ loss, correct, images }: Sums) {
  return { loss: loss / images, accuracy: correct / images };
}

/** The figures of a run that is done. @param final record of the epoch whose weights were kept. */
export function figuresOf(
  { model, data }: RunSettings,
  final: EpochRecord,
  test: Evaluation,
  { timings, elapsedMs }: { readonly timings: readonly EpochTiming[]; readonly elapsedMs: number },
): RunFigures {
  const variables = new Variables(0);
  const built = buildModel(model, variables, { batch: 1, image: data.image, training: false });
  const { parameters, statistics, multiplyAdds } = summarize(built, variables);
  const { trainAccuracy, trainLoss, validationAccuracy, validationLoss } = final;
  // every epoch has the same images: the mean over all of them is the harmonic one over epochs
  const secondsAnImage = timings.reduce((sum, { imagesPerSecond }) => sum + 1 / imagesPerSecond, 0);
  return {
    trainAccuracy,
    trainLoss,
    ...(validationLoss !== undefined && { validationAccuracy, validationLoss }),
    testAccuracy: test.accuracy,
    testLoss: test.loss,
    parameters,
    statistics,
    multiplyAdds,
    imagesPerSecond: timings.length / secondsAnImage,
    elapsedMs,
    epochs: timings.length,
  };
}
