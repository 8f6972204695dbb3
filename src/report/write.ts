import { join } from "node:path";
import { makeFolder, writeDurably } from "../files/durable.ts";
import type { FinishedRun, StudyResults } from "../study/results.ts";
import { curves, type Metric } from "./curves.ts";
import { heatmapSheet } from "./heatmaps.ts";
import { renderChart } from "./render.ts";
import { speedMarkdown, studyMarkdown } from "./table.ts";

const METRICS: readonly Metric[] = ["accuracy", "loss"];

/** Writes table.md, speed.md, the curves as SVG and PNG, and the heatmaps as PNG to report/ in the study's folder; returns their paths. */
export async function writeReport(
  studyFolder: string,
  results: StudyResults,
  finished: readonly FinishedRun[],
): Promise<string[]> {
  const folder = join(studyFolder, "report");
  await makeFolder(folder);
  const files = new Map<string, string | Uint8Array>([
    ["table.md", studyMarkdown(results)],
    ["speed.md", speedMarkdown(results)],
  ]);
  for (const metric of METRICS) {
    const { svg, png } = await renderChart(curves(metric, finished, results.study));
    files.set(`${metric}.svg`, svg).set(`${metric}.png`, png);
  }
  const heatmaps = await heatmapSheet(studyFolder, finished);
  if (heatmaps) files.set("heatmaps.png", heatmaps);
  for (const [name, bytes] of files) await writeDurably(join(folder, name), bytes);
  return [...files.keys()].map((name) => join(folder, name));
}
