import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { RunScores } from "../cam/record.ts";
import { readRunScores } from "../cam/run.ts";
import { parseAs, parseJson } from "../files/json.ts";
import { unreadable } from "../files/unreadable.ts";
import { resnetSchema } from "../models/schema.ts";
import { type StudyFile, type TrainedRun, trainedRuns } from "../study/folder.ts";
import { type FailedRun, type FinishedRun, resultsOf, type StudyResults } from "../study/results.ts";
import { UserError } from "../tensor/errors.ts";
import { trainSchema } from "../train/options.ts";
import { fingerprintedSchema, isMissing, runDataSchema } from "../train/run-data.ts";
import { readMetrics, readTest, readTimings } from "../train/run-folder.ts";
import type { EpochRecord, EpochTiming, Evaluation } from "../train/types.ts";

/** Everything that is on record of a study, finished or not. */
export interface StudyRecord {
  readonly folder: string;
  readonly file: StudyFile;
  /** A seed after the other, variants in the study's order. */
  readonly runs: readonly RunRecord[];
  readonly finished: readonly FinishedRun[];
  /** Of the finished runs; absent when there are none. */
  readonly results?: StudyResults;
}

export interface RunRecord extends TrainedRun {
  readonly epochs: readonly EpochRecord[];
  readonly timings: readonly EpochTiming[];
  readonly test?: Evaluation;
  /** What its heatmaps are worth, once they are computed. */
  readonly explained?: RunScores;
}

const studyFileSchema: z.ZodType<StudyFile> = z.object({
  atento: z.string(),
  name: z.string(),
  data: runDataSchema,
  seeds: z.array(z.int().min(0)).min(1),
  variants: z.record(
    z.string(),
    z.object({ model: resnetSchema, train: trainSchema, pretrained: fingerprintedSchema.optional() }),
  ),
  command: z.string().optional(),
});

const failedSchema: z.ZodType<FailedRun[]> = z.array(
  z.object({ variant: z.string(), seed: z.number(), what: z.string() }),
);

/** study.json of a folder. @throws UserError when there is none, or when it is none. */
export async function readStudyFile(folder: string): Promise<StudyFile> {
  const path = join(folder, "study.json");
  const text = await readFile(path, "utf8").catch(async (error: NodeJS.ErrnoException) => {
    if (!isMissing(error)) throw unreadable(path, error);
    const exists = await stat(folder).catch(() => undefined);
    throw new UserError(
      exists
        ? `${folder}: holds no study (there is no study.json): expected a folder such as runs/quick`
        : `${folder}: there is no such folder: expected a study's, such as runs/quick`,
    );
  });
  return parseAs(
    studyFileSchema,
    text,
    (problem) =>
      new UserError(
        `${path}: is no record of a study (${problem}): the command that trained it writes the file anew`,
      ),
  );
}

/** Reads a study's folder as it is now, also while it is being trained. @throws UserError naming the file at fault. */
export async function readStudy(folder: string): Promise<StudyRecord> {
  const file = await readStudyFile(folder);
  const variants = Object.keys(file.variants);
  const known = (await trainedRuns(folder)).filter(({ file: { settings } }) =>
    variants.includes(settings.variant),
  );
  const runs = await Promise.all(
    known.map(
      async (run): Promise<RunRecord> => ({
        ...run,
        epochs: await readMetrics(run.folder),
        timings: await readTimings(run.folder),
        ...(run.file.status === "done" && {
          test: await readTest(run.folder),
          explained: await readRunScores(run.folder),
        }),
      }),
    ),
  );
  const order = ({ file: { settings } }: RunRecord) => variants.indexOf(settings.variant);
  runs.sort((a, b) => a.file.settings.seed - b.file.settings.seed || order(a) - order(b));
  const finished: FinishedRun[] = [];
  for (const { file, epochs, test, explained } of runs) {
    const { settings, figures, status } = file;
    if (status !== "done" || !figures) continue;
    finished.push({ settings, figures, epochs, test, explained });
  }
  const results =
    finished.length > 0
      ? resultsOf(file.name, file.data, finished, file.atento, await failedRuns(folder, finished))
      : undefined;
  return { folder, file, runs, finished, results };
}

/** Runs that results.json says could not be finished, and that are not finished since. */
async function failedRuns(folder: string, finished: readonly FinishedRun[]): Promise<FailedRun[]> {
  const text = await readFile(join(folder, "results.json"), "utf8").catch(() => "");
  const { failed } = (parseJson(text) ?? {}) as { failed?: unknown };
  const parsed = failedSchema.safeParse(failed ?? []);
  const done = ({ variant, seed }: FailedRun) =>
    finished.some(({ settings }) => settings.variant === variant && settings.seed === seed);
  return parsed.success ? parsed.data.filter((run) => !done(run)) : [];
}
