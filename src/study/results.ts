import type { RunScores } from "../cam/record.ts";
import type { EpochRecord, Evaluation, RunData, RunFigures, RunSettings } from "../train/types.ts";
import { type Comparison, comparisonsOf } from "./comparisons.ts";
import { type Explanations, explanationsOf } from "./explanations.ts";
import { type Spread, spread } from "./statistics.ts";

/** A finished run: who it is, its figures, and how it came there. */
export interface FinishedRun {
  readonly settings: RunSettings;
  readonly figures: RunFigures;
  readonly epochs: readonly EpochRecord[];
  /** What its maps are worth, where it was explained. */
  readonly explained?: RunScores;
  /** Of the test set, image by image; absent where its file is. */
  readonly test?: Evaluation;
}

/** A run that could not be finished, and why. */
export interface FailedRun {
  readonly variant: string;
  readonly seed: number;
  readonly what: string;
}

export type Figure = keyof RunFigures;

/** Mean, deviation and 95 % interval over a variant's seeds of every figure that all its runs have. */
export type VariantStatistics = { readonly runs: number } & { readonly [F in Figure]?: Spread };

/** results.json. */
export interface StudyResults {
  readonly atento: string;
  readonly study: string;
  readonly data: RunData;
  readonly runs: readonly ({ readonly variant: string; readonly seed: number } & RunFigures)[];
  readonly statistics: Readonly<Record<string, VariantStatistics>>;
  /** What the maps of runs and variants are worth; absent when no run was explained. */
  readonly explanations?: Explanations;
  /** Pairs of variants by test accuracy, on the same seeds and on the same images. */
  readonly comparisons: readonly Comparison[];
  /** Runs of the study that are missing in the others; absent when there are none. */
  readonly failed?: readonly FailedRun[];
}

export function resultsOf(
  study: string,
  data: RunData,
  finished: readonly FinishedRun[],
  atento: string,
  failed: readonly FailedRun[] = [],
): StudyResults {
  const variants = [...new Set(finished.map(({ settings }) => settings.variant))];
  const figuresOf = (variant: string) =>
    finished.filter(({ settings }) => settings.variant === variant).map(({ figures }) => figures);
  return {
    atento,
    study,
    data,
    runs: finished.map(({ settings: { variant, seed }, figures }) => ({ variant, seed, ...figures })),
    statistics: Object.fromEntries(variants.map((variant) => [variant, statisticsOf(figuresOf(variant))])),
    comparisons: comparisonsOf(finished),
    ...explanationsOf(finished),
    ...(failed.length > 0 && { failed }),
  };
}

function statisticsOf(runs: readonly RunFigures[]): VariantStatistics {
  const figures = Object.keys(runs[0]) as Figure[];
  const spreads = figures.flatMap((figure) => {
    const values = runs.map((run) => run[figure]);
    return values.every((value) => typeof value === "number") ? [[figure, spread(values as number[])]] : [];
  });
  return { runs: runs.length, ...Object.fromEntries(spreads) };
}
