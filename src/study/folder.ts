import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, writeDurably } from "../files/durable.ts";
import type { ResNet } from "../models/resnet.ts";
import { UserError } from "../tensor/errors.ts";
import { type Difference, differences } from "../train/run-folder.ts";
import type { RunData, RunSettings, TrainOptions } from "../train/types.ts";
import { isTable } from "./merge.ts";

/** study.json: the study with every default filled in. */
export interface StudyFile {
  readonly atento: string;
  readonly name: string;
  readonly data: RunData;
  readonly seeds: readonly number[];
  readonly variants: Readonly<Record<string, { readonly model: ResNet; readonly train: TrainOptions }>>;
}

export function studyFileOf(name: string, runs: readonly RunSettings[], atento: string): StudyFile {
  return {
    atento,
    name,
    data: runs[0].data,
    seeds: [...new Set(runs.map(({ seed }) => seed))],
    variants: Object.fromEntries(runs.map(({ variant, model, train }) => [variant, { model, train }])),
  };
}

/**
 * Makes the study's folder, or makes sure that its runs can be compared with these.
 * @throws UserError with the first difference, or when the folder cannot be written.
 */
export async function openStudyFolder(folder: string, study: StudyFile): Promise<void> {
  await makeFolder(folder);
  const path = join(folder, "study.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new UserError(`${path}: cannot be read (${error.message})`);
  });
  if (text !== undefined) refuseOther(folder, parse(path, text), study);
  await writeDurably(path, `${JSON.stringify(study, undefined, 2)}\n`);
}

function parse(path: string, text: string): StudyFile {
  try {
    const value: unknown = JSON.parse(text);
    if (isTable(value) && isTable(value["data"]) && isTable(value["variants"]))
      return value as unknown as StudyFile;
  } catch {}
  throw new UserError(`${path}: is no study of ours: choose another --out, or remove the folder`);
}

function refuseOther(folder: string, known: StudyFile, asked: StudyFile): void {
  const [first, ...others] = studyDifferences(known, asked);
  if (!first) return;
  const more =
    others.length > 0 ? ` (and ${others.length} more difference${others.length > 1 ? "s" : ""})` : "";
  throw new UserError(
    `${folder}: holds runs that cannot be compared with these: ${first.path} is ${first.was} there, ` +
      `${first.is} here${more}: give the study another name, choose another --out, or remove the folder`,
  );
}

/** What makes runs of two studies incomparable; further seeds and variants do not, nor where the data lies. */
export function studyDifferences(known: StudyFile, asked: StudyFile): Difference[] {
  const shared = Object.keys(asked.variants).filter((name) => Object.hasOwn(known.variants, name));
  const settings = ({ data, variants }: StudyFile, variant: string) => ({
    variant,
    seed: 0,
    data,
    ...variants[variant],
  });
  const found = shared.flatMap((name) =>
    differences(settings(known, name), settings(asked, name)).map((difference) =>
      difference.path.startsWith("data.")
        ? difference
        : { ...difference, path: `variants.${name}.${difference.path}` },
    ),
  );
  return [...new Map(found.map((difference) => [difference.path, difference])).values()];
}
