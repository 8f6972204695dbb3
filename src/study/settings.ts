import type { Dataset } from "../data/dataset.ts";
import { resolveModel } from "../models/options.ts";
import type { RunData, RunSettings } from "../train/types.ts";
import type { Study, StudyData } from "./study.ts";

/** What a study needs to know of its data before anything is read. */
export interface DataOutline {
  readonly name: string;
  readonly classes: readonly string[];
  readonly height: number;
  readonly width: number;
  readonly train: { readonly count: number };
  readonly test: { readonly count: number };
}

/** Training images held back when the study does not say: a tenth, and one a class at least. */
export function validationOf({ validation }: StudyData, outline: DataOutline): RunData["validation"] {
  return validation ?? Math.max(outline.classes.length, Math.round(outline.train.count / 10));
}

/** The data of a study's runs. */
export function resolveData(data: StudyData, dataset: Dataset): RunData {
  return {
    source: data.source,
    name: dataset.name,
    fingerprint: dataset.fingerprint,
    classes: dataset.classes,
    image: [dataset.height, dataset.width],
    validation: validationOf(data, dataset),
    normalize: data.normalize,
  };
}

/** Every run of a study: all variants of the first seed, then of the next. @throws UserError as resolveModel. */
export function resolveRuns({ variants, seeds }: Study, data: RunData): RunSettings[] {
  return seeds.flatMap((seed) =>
    variants.map(({ name, model, train }) => ({
      variant: name,
      seed,
      model: resolveModel(model, data.classes.length),
      data,
      train,
    })),
  );
}
