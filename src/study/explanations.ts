import type { MethodScores, RunScores, ScoreName } from "../cam/record.ts";
import type { RunSettings } from "../train/types.ts";
import { type Interval, meanInterval } from "./interval.ts";

/** A score's mean with its 95 % interval, by score. */
export type MethodSummary = { readonly [S in ScoreName]?: Interval };

/** By method. */
type Summaries = Readonly<Record<string, MethodSummary>>;

/** `explanations` of results.json. */
export interface Explanations {
  /** Images explained by every run. */
  readonly images: number;
  readonly runs: readonly {
    readonly variant: string;
    readonly seed: number;
    readonly layer: string;
    readonly methods: Summaries;
  }[];
  /** Over the images and seeds of a variant. */
  readonly variants: Readonly<Record<string, Summaries>>;
}

interface Run {
  readonly settings: Pick<RunSettings, "variant" | "seed">;
  readonly explained?: RunScores;
}

/** What the maps are worth, run by run and variant by variant; an empty object when no run was explained. */
export function explanationsOf(runs: readonly Run[]): { readonly explanations?: Explanations } {
  const explained = runs.flatMap(({ settings, explained: scores }) => (scores ? [{ settings, scores }] : []));
  if (explained.length === 0) return {};
  const variants = [...new Set(explained.map(({ settings }) => settings.variant))];
  const of = (variant: string) =>
    explained.filter(({ settings }) => settings.variant === variant).map(({ scores }) => scores);
  return {
    explanations: {
      images: explained[0].scores.images.length,
      runs: explained.map(({ settings: { variant, seed }, scores }) => ({
        ...{ variant, seed, layer: scores.layer, methods: summarize([scores]) },
      })),
      variants: Object.fromEntries(variants.map((variant) => [variant, summarize(of(variant))])),
    },
  };
}

/** Every score that all these runs have, of the methods that all have. */
function summarize(runs: readonly RunScores[]): Summaries {
  const shared = Object.keys(runs[0].methods).filter((name) => runs.every(({ methods }) => methods[name]));
  return Object.fromEntries(
    shared.map((name) => {
      const all = runs.map(({ methods }) => methods[name]);
      const scores = (Object.keys(all[0]) as (keyof MethodScores)[]).filter((score) =>
        all.every((own) => own[score]?.length === all[0][score]?.length),
      );
      return [
        name,
        Object.fromEntries(scores.map((score) => [score, meanInterval(all.map((own) => own[score]!))])),
      ];
    }),
  );
}
