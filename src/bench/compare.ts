import type { Measurement, Workload } from "./measure.ts";
import type { Result } from "./turns.ts";

/** Programs on one workload. */
export interface Row {
  readonly settings: Workload;
  /** The one that the others are compared with first, then ours of other instruction sets or without passes. */
  readonly ours: readonly Result[];
  readonly others: readonly Result[];
}

/** The figures that people compare. */
export const figures = {
  train: { of: (m: Measurement) => m.trainImagesPerSecond, best: Math.max },
  infer: { of: (m: Measurement) => m.inferImagesPerSecond, best: Math.max },
  memory: { of: (m: Measurement) => m.peakRssMiB, best: Math.min },
};

/** Our figures over the best that somebody else reached in each; absent where nobody has it. */
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

function over(name: string, { median: mine }: Result, results: readonly Result[]): Ratio[] {
  const measured = results.flatMap(({ median }) => median ?? []);
  if (!mine || measured.length === 0) return [];
  const ratios = Object.entries(figures).flatMap(([key, { of, best }]) => {
    const [value, theirs] = [of(mine), measured.flatMap((m) => of(m) ?? [])];
    return value === undefined || theirs.length === 0 ? [] : [[key, value / best(...theirs)]];
  });
  return [{ over: name, ...Object.fromEntries(ratios) }];
}
