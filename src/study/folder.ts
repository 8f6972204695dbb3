import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, removeUnfinished, writeDurably } from "../files/durable.ts";
import { unreadable } from "../files/unreadable.ts";
import { UserError } from "../tensor/errors.ts";
import { readTrainedRun } from "../train/checkpoint.ts";
import { type Difference, differences, reason } from "../train/run-folder.ts";
import type { RunData, RunFile, RunSettings } from "../train/types.ts";
import { isTable } from "./merge.ts";

/** study.json: the study with every default filled in. */
export interface StudyFile {
  readonly atento: string;
  readonly name: string;
  readonly data: RunData;
  readonly seeds: readonly number[];
  readonly variants: Readonly<Record<string, Pick<RunSettings, "model" | "train" | "pretrained">>>;
  /** That trained it last, for people; absent where it was not the command line. */
  readonly command?: string;
}

export function studyFileOf(
  name: string,
  runs: readonly RunSettings[],
  atento: string,
  command?: string,
): StudyFile {
  return {
    atento,
    name,
    data: runs[0].data,
    seeds: [...new Set(runs.map(({ seed }) => seed))],
    variants: Object.fromEntries(
      runs.map(({ variant, model, train, pretrained }) => [variant, { model, train, pretrained }]),
    ),
    command,
  };
}

/**
 * Makes the study's folder, or makes sure that the runs it holds can be compared with these.
 * @throws UserError with the first difference, or when the folder cannot be written.
 */
export async function openStudyFolder(folder: string, study: StudyFile): Promise<void> {
  await makeFolder(folder);
  await removeUnfinished(folder);
  // who was killed while writing the report left temporary files there
  const report = join(folder, "report");
  if (existsSync(report)) await removeUnfinished(report);
  const path = join(folder, "study.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw unreadable(path, error);
  });
  const known = await trainedRuns(folder);
  // where something of ours is trained, a damaged file is written anew: the runs say what they are
  if (text !== undefined && known.length === 0) expectOurs(path, text);
  refuseOther(folder, known, study);
  await writeDurably(path, `${JSON.stringify(study, undefined, 2)}\n`);
}

function expectOurs(path: string, text: string): void {
  try {
    const value: unknown = JSON.parse(text);
    if (isTable(value) && isTable(value["data"]) && isTable(value["variants"])) return;
  } catch {}
  throw new UserError(`${path}: is no study of ours: choose another --out, or remove the folder`);
}

export interface TrainedRun {
  readonly folder: string;
  readonly file: RunFile;
}

/** The runs in a study's folder of which something is trained, by variant and seed. */
export async function trainedRuns(folder: string): Promise<TrainedRun[]> {
  const folders = async (path: string) =>
    (await readdir(path, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  const runs: TrainedRun[] = [];
  for (const variant of (await folders(folder)).sort()) {
    for (const seed of await folders(join(folder, variant))) {
      const run = join(folder, variant, seed);
      const file = /^seed-\d+$/.test(seed) ? await readTrainedRun(run) : undefined;
      if (file) runs.push({ folder: run, file });
    }
  }
  return runs.sort((a, b) => a.file.settings.seed - b.file.settings.seed);
}

function refuseOther(folder: string, known: readonly TrainedRun[], asked: StudyFile): void {
  const found = known.flatMap(({ file }) => studyDifferences(file.settings, asked));
  const [first, ...others] = new Map(found.map((difference) => [difference.path, difference])).values();
  if (!first) return;
  const more =
    others.length > 0 ? ` (and ${others.length} more difference${others.length > 1 ? "s" : ""})` : "";
  throw new UserError(
    `${folder}: holds runs that cannot be compared with these: ${first.path} is ${first.was} there, ` +
      `${first.is} here${reason(first)}${more}: give the study another name, choose another --out, or remove the folder`,
  );
}

/**
 * What makes a run incomparable with a study: other data, or another variant of the same name. Further seeds and
 * variants do not, nor where the data lies.
 */
function studyDifferences(known: RunSettings, { data, variants }: StudyFile): Difference[] {
  const { variant, seed } = known;
  const asked = Object.hasOwn(variants, variant)
    ? variants[variant]
    : { model: known.model, train: known.train, pretrained: known.pretrained };
  return differences(known, { variant, seed, data, ...asked }).map((difference) =>
    difference.path.startsWith("data.")
      ? difference
      : { ...difference, path: `variants.${variant}.${difference.path}` },
  );
}
