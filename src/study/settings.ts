import type { Dataset } from "../data/dataset.ts";
import { fingerprintOf } from "../exchange/pretrained.ts";
import { resolveModel } from "../models/options.ts";
import type { Fingerprinted, RunData, RunSettings } from "../train/types.ts";
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

/** What is known of the files that models of a study start from, by their names in it. */
export type Fingerprints = ReadonlyMap<string, Fingerprinted>;

/** Looks at every file that a model of the study starts from. @throws UserError when one cannot be read. */
export async function fingerprintsOf({ variants }: Study): Promise<Fingerprints> {
  const files = new Set(variants.flatMap(({ model }) => model.pretrained ?? []));
  const known = new Map<string, Fingerprinted>();
  for (const file of files) known.set(file, await fingerprintOf(file));
  return known;
}

/** Every run of a study: all variants of the first seed, then of the next. @throws UserError as resolveModel. */
export function resolveRuns(
  { variants, seeds }: Study,
  data: RunData,
  fingerprints: Fingerprints = new Map(),
): RunSettings[] {
  return seeds.flatMap((seed) =>
    variants.map(({ name, model, train }) => ({
      variant: name,
      seed,
      model: resolveModel(model, data.classes.length),
      data,
      train,
      ...(model.pretrained !== undefined && { pretrained: fingerprints.get(model.pretrained) }),
    })),
  );
}
