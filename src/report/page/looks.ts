import type { Context } from "./context.ts";
import type { HeatmapsPage, Score, VariantPage } from "./data.ts";

/** Mean of a score over a variant's seeds and images; undefined where there is none. */
export function meanScore(
  { runs }: HeatmapsPage,
  variant: string,
  method: string,
  score: Score,
): number | undefined {
  const values = runs
    .filter((run) => run.variant === variant)
    .flatMap(({ methods }) => methods.filter(({ name }) => name === method))
    .flatMap(({ scores }) => scores[score] ?? []);
  return values.length > 0 ? values.reduce((sum, x) => sum + x, 0) / values.length : undefined;
}

/** Names of all methods, in the order in which runs have them. */
export const methodsOf = ({ runs }: HeatmapsPage): string[] => [
  ...new Set(runs.flatMap(({ methods }) => methods.map(({ name }) => name))),
];

/** Where the best variant looks, in numbers: on the object where masks tell, else how much the marked pixels decide. */
export function looks({ study, t, f }: Context, ranked: readonly VariantPage[]): string[] {
  const { heatmaps } = study;
  if (!heatmaps || heatmaps.runs.length === 0) return [t.summary.noMaps];
  const [method] = methodsOf(heatmaps);
  const [best, ...others] = ranked.map(({ name }) => name);
  const sentences = (["pointing", "energy", "insertion"] as const).flatMap((score) => {
    const show = (value: number) => (score === "insertion" ? f.fixed(value, 2) : f.percent(value, 0));
    const own = meanScore(heatmaps, best, method, score);
    if (own === undefined) return [];
    const rest = others.flatMap((name) => {
      const value = meanScore(heatmaps, name, method, score);
      return value === undefined ? [] : [`${name} ${show(value)}`];
    });
    return [
      t.summary[score](method, best, show(own), rest.length > 0 ? t.summary.against(rest.join(", ")) : ""),
    ];
  });
  return [...sentences.slice(0, 2), t.summary.seen];
}
