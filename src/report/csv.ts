import type { StudyResults } from "../study/results.ts";
import type { RunRecord } from "./study-record.ts";

type Cell = string | number | undefined;

/** As RFC 4180 has it. */
function csv(rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell) => {
    const text = value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

const METRICS = [
  "epoch",
  "step",
  "lr",
  "trainLoss",
  "trainAccuracy",
  "validationLoss",
  "validationAccuracy",
] as const;

/** Every epoch of every run, a line each. */
export function metricsCsv(runs: readonly RunRecord[]): string {
  return csv([
    ["variant", "seed", ...METRICS],
    ...runs.flatMap(({ file: { settings }, epochs }) =>
      epochs.map((record) => [settings.variant, settings.seed, ...METRICS.map((name) => record[name])]),
    ),
  ]);
}

/** Figures of the table that do not depend on the machine. */
const FIGURES = [
  ...([
    "testAccuracy",
    "validationAccuracy",
    "trainAccuracy",
    "testLoss",
    "validationLoss",
    "trainLoss",
  ] as const),
  ...(["parameters", "statistics", "multiplyAdds", "epochs"] as const),
];

/** The table: mean, sample deviation and 95 % interval of each figure, a line a variant and figure. */
export function tableCsv({ statistics }: StudyResults): string {
  return csv([
    ["variant", "figure", "seeds", "mean", "deviation", "low95", "high95"],
    ...Object.entries(statistics).flatMap(([variant, row]) =>
      FIGURES.flatMap((figure) => {
        const spread = row[figure];
        return spread
          ? [
              [
                variant,
                figure,
                row.runs,
                spread.mean,
                spread.deviation,
                ...(spread.interval ?? [undefined, undefined]),
              ],
            ]
          : [];
      }),
    ),
  ]);
}
