import type { ScoreName } from "../cam/record.ts";
import { STUDY_METHODS } from "../cam/run.ts";
import type { StudyResults } from "../study/results.ts";
import type { Column } from "./text-table.ts";

interface ScoreColumn {
  readonly score: ScoreName;
  readonly best: "highest" | "lowest";
}

const COLUMNS: readonly ScoreColumn[] = [
  { score: "insertion", best: "highest" },
  { score: "deletion", best: "lowest" },
  { score: "road", best: "highest" },
  { score: "energy", best: "highest" },
  { score: "pointing", best: "highest" },
];

const [METHOD] = STUDY_METHODS;
const show = (value: number) => value.toFixed(3);

type Row = readonly [variant: string, unknown];
type Mark = (text: string) => string;

/** What the maps of each variant are worth, as columns of the study's table. */
export function scoreColumns<R extends Row>(
  { explanations }: StudyResults,
  best: Mark,
  other: Mark,
): Column<R>[] {
  const variants = Object.entries(explanations?.variants ?? {});
  const of = (variant: string, score: ScoreName) => explanations?.variants[variant]?.[METHOD]?.[score];
  return COLUMNS.flatMap(({ score, best: end }): Column<R>[] => {
    const means = variants.flatMap(([variant]) => of(variant, score)?.mean ?? []);
    if (means.length === 0) return [];
    // as it is shown, so that values that look equal are marked alike
    const winner =
      means.length > 1 ? show(end === "highest" ? Math.max(...means) : Math.min(...means)) : undefined;
    const plain: Mark = winner === undefined ? (text) => text : other;
    return [
      {
        title: plain(score),
        align: "right",
        cell: ([variant]) => {
          const value = of(variant, score);
          if (!value) return plain("–");
          const half = value.high === undefined ? "" : ` ± ${show(value.high - value.mean)}`;
          return (show(value.mean) === winner ? best : plain)(`${show(value.mean)}${half}`);
        },
      },
    ];
  });
}

/** What these columns mean; nothing without them. */
export function scoreNotes({ explanations }: StudyResults): string[] {
  if (!explanations) return [];
  const seeds = new Set(explanations.runs.map(({ seed }) => seed)).size;
  const over = seeds > 1 ? "images and seeds" : "images, with one seed";
  return [
    `Maps by ${METHOD} on ${explanations.images} test images, ± half of the 95 % interval over ${over}: insertion, ROAD ` +
      "(high is faithful), deletion (low is), energy and pointing (on the object, where masks are known).",
  ];
}
