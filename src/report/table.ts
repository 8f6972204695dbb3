import type { Figure, StudyResults, VariantStatistics } from "../study/results.ts";
import { scoreColumns, scoreNotes } from "./explanations.ts";
import { duration, grouped, percent, rate, scaled } from "./numbers.ts";
import { type Language, TEXTS } from "./page/texts/index.ts";
import { type Column, markdownTable, textTable } from "./text-table.ts";

interface FigureColumn {
  readonly figure: Figure;
  readonly title: string;
  readonly show: (value: number) => string;
  /** Which end is marked as the best; none where there is nothing to win. */
  readonly best?: "highest" | "lowest";
}

const SPEED: FigureColumn = { figure: "imagesPerSecond", title: "images/s", show: rate, best: "highest" };

const COLUMNS: readonly FigureColumn[] = [
  { figure: "trainAccuracy", title: "train acc. %", show: percent, best: "highest" },
  { figure: "validationAccuracy", title: "val. acc. %", show: percent, best: "highest" },
  { figure: "testAccuracy", title: "test acc. %", show: percent, best: "highest" },
  { figure: "trainLoss", title: "train loss", show: (loss) => loss.toFixed(4), best: "lowest" },
  { figure: "validationLoss", title: "val. loss", show: (loss) => loss.toFixed(4), best: "lowest" },
  { figure: "parameters", title: "parameters", show: grouped },
  { figure: "multiplyAdds", title: "multiply-adds", show: scaled },
  SPEED,
];

type Row = readonly [variant: string, statistics: VariantStatistics];

/** The study's table for a terminal; the best value of a column is marked with an asterisk. */
export function studyTable(results: StudyResults): string {
  const { rows, columns, notes } = content(
    results,
    COLUMNS,
    (text) => `${text} *`,
    (text) => `${text}  `,
  );
  const legend = rows.length > 1 ? ["* best of its column"] : [];
  return [textTable(columns, rows), "", ...notes, ...legend].join("\n");
}

/** report/table.md: the same in Markdown, the best values bold, without what depends on the machine. */
export function studyMarkdown(results: StudyResults): string {
  const { rows, columns, notes } = content(
    results,
    COLUMNS.filter((column) => column !== SPEED),
    (text) => `**${text}**`,
    (text) => text,
  );
  const pictures = ["accuracy", "loss"].flatMap((metric) => ["", `![${metric} an epoch](${metric}.svg)`]);
  if (results.explanations) pictures.push("", "![where the variants look](heatmaps.png)");
  const said = results.comparisons.map((pair) => `- ${TEXTS.en.pair(pair)}`);
  return [
    ...[`# ${results.study}`, "", markdownTable(columns, rows), "", ...notes],
    ...(said.length > 0 ? ["", ...said] : []),
    ...[...pictures, ""],
  ].join("\n");
}

/** report/table.tex: the same for a paper (package booktabs). */
export function studyLatex(results: StudyResults): string {
  const { rows, columns, notes } = content(
    results,
    COLUMNS.filter((column) => column !== SPEED),
    (text) => `\u0001${text}\u0002`,
    (text) => text,
  );
  const line = (cells: readonly string[]) => `${cells.map(latex).join(" & ")} \\\\`;
  return [
    ...notes.map((note) => `% ${note}`),
    `\\begin{tabular}{${columns.map(({ align }) => (align === "right" ? "r" : "l")).join("")}}`,
    "\\toprule",
    line(columns.map(({ title }) => title)),
    "\\midrule",
    ...rows.map((row) => line(columns.map(({ cell }) => cell(row)))),
    "\\bottomrule",
    "\\end{tabular}",
    "",
  ].join("\n");
}

const latex = (text: string) =>
  text
    .replaceAll("\\", "\\textbackslash ")
    .replaceAll(/[&%$#_{}]/g, "\\$&")
    .replaceAll("±", "$\\pm$")
    .replaceAll("–", "--")
    .replaceAll("\u0001", "\\textbf{")
    .replaceAll("\u0002", "}");

/** What each pair of variants allows to be said, a line each. */
export function sentences({ comparisons }: StudyResults, language: Language): string {
  return comparisons.map((pair) => TEXTS[language].pair(pair)).join("\n");
}

/** report/speed.md: how fast the machine was. */
export function speedMarkdown({ study, runs, statistics }: StudyResults): string {
  const columns: Column<Row>[] = [
    { title: "variant", cell: ([variant]) => variant },
    { title: SPEED.title, align: "right", cell: ([, row]) => cellText(SPEED, row) },
    {
      title: "time of a run",
      align: "right",
      cell: ([, { elapsedMs }]) => (elapsedMs ? duration(elapsedMs.mean) : "–"),
    },
  ];
  const total = runs.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
  return [
    `# ${study}: speed`,
    "",
    markdownTable(columns, Object.entries(statistics)),
    "",
    `Images a second in training; all runs together took ${duration(total)}.`,
    "",
  ].join("\n");
}

type Mark = (text: string) => string;

function content(results: StudyResults, all: readonly FigureColumn[], best: Mark, other: Mark) {
  const { statistics, data, failed = [] } = results;
  const rows: Row[] = Object.entries(statistics);
  const present = all.filter(({ figure }) => rows.some(([, row]) => row[figure]));
  const columns: Column<Row>[] = [
    { title: "variant", cell: ([variant]) => variant },
    ...present.map((column): Column<Row> => {
      const winner = rows.length > 1 ? bestOf(column, rows) : undefined;
      return {
        title: winner === undefined ? column.title : other(column.title),
        align: "right",
        cell: ([, row]) => {
          const text = cellText(column, row);
          if (winner === undefined) return text;
          return row[column.figure] && column.show(row[column.figure]!.mean) === winner
            ? best(text)
            : other(text);
        },
      };
    }),
    ...scoreColumns<Row>(results, best, other),
  ];
  const missing = failed.map(({ variant, seed, what }) => `Missing: ${variant}, seed ${seed}: ${what}.`);
  return { rows, columns, notes: [...notesOn(rows, data, all), ...scoreNotes(results), ...missing] };
}

/** As it is shown, so that values that look equal are marked alike. */
function bestOf({ figure, best, show }: FigureColumn, rows: readonly Row[]): string | undefined {
  const means = rows.flatMap(([, row]) => row[figure]?.mean ?? []).filter(Number.isFinite);
  if (!best || means.length === 0) return undefined;
  return show(best === "highest" ? Math.max(...means) : Math.min(...means));
}

function cellText({ figure, show }: FigureColumn, row: VariantStatistics): string {
  const value = row[figure];
  if (!value) return "–";
  return value.deviation && varies(figure)
    ? `${show(value.mean)} ± ${show(value.deviation)}`
    : show(value.mean);
}

const varies = (figure: Figure) => figure !== "parameters" && figure !== "multiplyAdds";

function notesOn(
  rows: readonly Row[],
  { name, validation, image: [height, width] }: StudyResults["data"],
  columns: readonly FigureColumn[],
): string[] {
  const seeds = Math.max(...rows.map(([, { runs }]) => runs));
  const judged =
    validation === "test"
      ? "the test set served as validation set"
      : `${grouped(validation)} training images held back to validate`;
  return [
    `Data ${name}, ${height}×${width}, ${judged}.`,
    ...(seeds > 1 ? [`Mean ± sample deviation over ${seeds} seeds.`] : []),
    "Training accuracy and loss are means over the last epoch, in training mode; parameters without running " +
      `statistics; multiply-adds of one image forward${columns.includes(SPEED) ? "; images/s in training" : ""}.`,
  ];
}
