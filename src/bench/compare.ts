import type { Measurement, Workload } from "./measure.ts";
import { middle, type Result } from "./turns.ts";

/** Programs on one workload. */
export interface Row {
  readonly settings: Workload;
  /** The one that the others are compared with first, then ours of other instruction sets or without passes. */
  readonly ours: readonly Result[];
  readonly others: readonly Result[];
}

/** The figures that people compare, and which of several ratios of ours over theirs is the worst. */
export const figures = {
  train: { of: (m: Measurement) => m.trainImagesPerSecond, worst: Math.min },
  infer: { of: (m: Measurement) => m.inferImagesPerSecond, worst: Math.min },
  memory: { of: (m: Measurement) => m.peakRssMiB, worst: Math.max },
};

/**
 * Our figures over those of whoever is best in each: the median of the ratios of all rounds, since what slows a machine
 * for longer than a round meets both. Absent where nobody has the figure.
 */
export interface Ratio extends Partial<Record<keyof typeof figures, number>> {
  readonly over: string;
}

/** What the first program of a row is compared with: the others, and itself on easier workloads of the same run. */
export function ratiosOf(row: Row, rows: readonly Row[]): Ratio[] {
  const { settings, ours, others } = row;
  const itself = (eased: Partial<Workload>) =>
    rows
      .filter((one) => one !== row && isOf(one.settings, { ...settings, ...eased }))
      .map((one) => one.ours[0]);
  const fewest = Math.min(...rows.map((one) => one.settings.threads));
  return [
    ...over("the best of the others", ours[0], others),
    ...over("itself without attention", ours[0], itself({ attention: "none" })),
    ...over(`itself with ${fewest} thread${fewest === 1 ? "" : "s"}`, ours[0], itself({ threads: fewest })),
  ];
}

const isOf = (a: Workload, b: Workload) =>
  a.stem === b.stem && a.attention === b.attention && a.batch === b.batch && a.threads === b.threads;

function over(name: string, { rounds: mine }: Result, results: readonly Result[]): Ratio[] {
  const others = results.flatMap(({ rounds }) => (rounds ? [rounds] : []));
  if (!mine || others.length === 0) return [];
  const ratios = Object.entries(figures).flatMap(([key, { of, worst }]) => {
    const medians = others.flatMap((theirs) => {
      const inRounds = mine.flatMap((measured, k) => {
        const [value, other] = [of(measured), of(theirs[k])];
        return value === undefined || other === undefined ? [] : [value / other];
      });
      return inRounds.length === 0 ? [] : [middle(inRounds)];
    });
    return medians.length === 0 ? [] : [[key, worst(...medians)]];
  });
  return [{ over: name, ...Object.fromEntries(ratios) }];
}
