import { dirname, join } from "node:path";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { metricsCsv, tableCsv } from "./csv.ts";
import { curves } from "./curves.ts";
import { confusions, costs, differences } from "./figures.ts";
import { heatmapSheet } from "./heatmap-sheet.ts";
import type { Language } from "./page/texts/index.ts";
import { pageHtml } from "./page.ts";
import { pageData } from "./page-data.ts";
import { renderChart } from "./render.ts";
import { readStudy, type StudyRecord } from "./study-record.ts";
import { speedMarkdown, studyLatex, studyMarkdown } from "./table.ts";
import { eventFile } from "./tensorboard.ts";

export interface ReportOptions {
  /** English by default. */
  readonly language?: Language;
  /** Another place for the page. */
  readonly page?: string;
  readonly onProgress?: (text: string) => void;
}

/**
 * Writes what is known of a study to report/ in its folder: the page, the table as Markdown, CSV and LaTeX, charts as
 * SVG and PNG, curves as CSV and for TensorBoard. @returns the paths, the page's first. @throws UserError as readStudy.
 */
export async function writeReport(studyFolder: string, options: ReportOptions = {}): Promise<string[]> {
  const { language = "en", onProgress } = options;
  onProgress?.("reading");
  const study = await readStudy(studyFolder);
  const folder = join(studyFolder, "report");
  const page = options.page ?? join(folder, "index.html");
  onProgress?.("page");
  const files = new Map<string, string | Uint8Array>([[page, await writtenPage([study], language)]]);
  for (const [name, content] of [...tables(study), ...(await charts(study, onProgress)), ...events(study)]) {
    files.set(join(folder, name), content);
  }
  onProgress?.("writing");
  const folders = new Set([studyFolder, ...[...files.keys()].map(dirname)]);
  for (const path of folders) {
    await makeFolder(path);
    await removeUnfinished(path);
  }
  for (const [path, content] of files) await writeDurably(path, content);
  return [...files.keys()];
}

/** The page of one or more studies. */
export async function writtenPage(studies: readonly StudyRecord[], language: Language): Promise<string> {
  return pageHtml(await pageData(studies, language));
}

type Files = readonly (readonly [name: string, content: string | Uint8Array])[];

function tables({ runs, results }: StudyRecord): Files {
  const finished: Files = results
    ? [
        ["table.md", studyMarkdown(results)],
        ["table.csv", tableCsv(results)],
        ["table.tex", studyLatex(results)],
        ["speed.md", speedMarkdown(results)],
      ]
    : [];
  return [...finished, ["metrics.csv", metricsCsv(runs)]];
}

async function charts(
  { folder, file, runs, finished, results }: StudyRecord,
  onProgress?: (text: string) => void,
): Promise<Files> {
  const begun = runs
    .filter(({ epochs }) => epochs.length > 0)
    .map((run) => ({ settings: run.file.settings, ...run }));
  const variants = Object.keys(file.variants);
  const specs = [
    ...(["accuracy", "loss"] as const).map(
      (metric) => [metric, begun.length > 0 && curves(metric, begun, file.name)] as const,
    ),
    ["cost", results && costs(results, variants)] as const,
    ["differences", results && results.comparisons.length > 0 && differences(results)] as const,
    ["confusion", confusions(runs, file)] as const,
  ];
  const files: (readonly [string, string | Uint8Array])[] = [];
  for (const [name, spec] of specs) {
    if (!spec) continue;
    onProgress?.(`chart ${name}`);
    const { svg, png } = await renderChart(spec);
    files.push([`${name}.svg`, svg], [`${name}.png`, png]);
  }
  const heatmaps = await heatmapSheet(folder, finished);
  if (heatmaps) files.push(["heatmaps.png", heatmaps]);
  return files;
}

/** A folder a run, as TensorBoard wants them. */
const events = ({ runs }: StudyRecord): Files =>
  runs.map((run) => {
    const { variant, seed } = run.file.settings;
    return [join("tensorboard", variant, `seed-${seed}`, "events.out.tfevents.0.atento"), eventFile(run)];
  });
