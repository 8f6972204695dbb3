import { join } from "node:path";
import { NoMaps } from "../cam/layers.ts";
import type { RunScores } from "../cam/record.ts";
import { explainRun, readRunScores, writeSampleImages } from "../cam/run.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { completeExports } from "../exchange/export.ts";
import { loadPretrained } from "../exchange/pretrained.ts";
import { writeDurably } from "../files/durable.ts";
import { orInterrupted, unlessAborted } from "../train/abort.ts";
import { Diverged } from "../train/diverged.ts";
import { version } from "../train/environment.ts";
import { engineToGoOn } from "../train/kernels.ts";
import { readMetrics, readRunFile, readTest } from "../train/run-folder.ts";
import { trainRun } from "../train/trainer.ts";
import type { RunProgress, RunSettings } from "../train/types.ts";
import { openStudyFolder, studyFileOf, trainedRuns } from "./folder.ts";
import { type FailedRun, type FinishedRun, resultsOf, type StudyResults } from "./results.ts";
import { fingerprintsOf, resolveData, resolveRuns } from "./settings.ts";
import type { Study } from "./study.ts";

export interface StudyRequest {
  /** Folder that holds the study's own, named after it. */
  readonly out: string;
  readonly dataset: Dataset;
  readonly engine: Engine;
  /** Aborting saves the run under way; the same request goes on from there. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: StudyProgress) => void;
  /** What to type to do it again; kept in study.json. */
  readonly command?: string;
  /** As in TrainRequest. */
  readonly checkpointMs?: number;
}

export interface StudyProgress {
  readonly settings: RunSettings;
  /** Of this run, counted from 0. */
  readonly index: number;
  readonly runs: number;
  readonly run:
    | RunProgress
    /** Images of a finished run that are explained, and their maps judged. */
    | { readonly kind: "explain"; readonly done: number; readonly total: number }
    | { readonly kind: "end"; readonly finished?: FinishedRun };
}

export interface StudyOutcome {
  readonly status: "done" | "interrupted";
  readonly folder: string;
  readonly finished: readonly FinishedRun[];
  /** Runs whose numbers were no longer finite. */
  readonly failed: readonly FailedRun[];
  /** Of the finished runs; absent when there are none. */
  readonly results?: StudyResults;
}

/**
 * Trains what a study lacks, a folder <variant>/seed-<n> each; of every finished run it explains a sample of the test
 * set, writes the model in every format, and then results.json. A run whose numbers are no longer finite does not keep
 * the others from being trained.
 * @throws UserError when the folder holds runs that cannot be compared with these.
 */
export async function runStudy(study: Study, request: StudyRequest): Promise<StudyOutcome> {
  const { dataset, engine, signal, onProgress, command, checkpointMs } = request;
  const folder = join(request.out, study.name);
  const data = resolveData(study.data, dataset);
  const runs = resolveRuns(study, data, await fingerprintsOf(study));
  await openStudyFolder(folder, studyFileOf(study.name, runs, version, command));
  await writeSampleImages(folder, dataset);
  const others = await finishedBefore(folder, runs);

  const finished: FinishedRun[] = [];
  const failed: FailedRun[] = [];
  let results: StudyResults | undefined;
  const outcome = (status: StudyOutcome["status"]): StudyOutcome => ({
    ...{ status, folder, failed, results },
    finished: [...others, ...finished],
  });
  for (const [index, settings] of runs.entries()) {
    const report = (run: StudyProgress["run"]) => onProgress?.({ settings, index, runs: runs.length, run });
    const { pretrained } = settings;
    const at = runFolder(folder, settings);
    const trained = await trainRun({
      ...{ folder: at, settings, dataset, engine, signal, checkpointMs },
      ...(pretrained && { pretrained: () => loadPretrained(pretrained) }),
      onProgress: report,
    }).catch((error) => {
      if (error instanceof Diverged) return error;
      throw error;
    });
    if (!(trained instanceof Diverged) && !trained.figures) {
      report({ kind: "end" });
      return outcome("interrupted");
    }
    let run: FinishedRun | undefined;
    if (trained instanceof Diverged) {
      // the other runs have nothing to do with it
      failed.push({ variant: settings.variant, seed: settings.seed, what: trained.what });
      report({ kind: "note", text: trained.message });
    } else {
      const explained = await explainFinished(folder, settings, request, report);
      if (explained === "interrupted" || !(await exported(at, signal, report))) {
        report({ kind: "end" });
        return outcome("interrupted");
      }
      const { figures, epochs, test } = trained;
      run = { settings, figures: figures!, epochs, test, ...explained };
      finished.push(run);
    }
    const known = [...others, ...finished];
    if (known.length > 0) {
      results = resultsOf(study.name, data, known, version, failed);
      await writeDurably(join(folder, "results.json"), `${JSON.stringify(results, undefined, 2)}\n`);
    }
    report({ kind: "end", finished: run });
  }
  return outcome("done");
}

/** What the maps of a finished run are worth; nothing where the network has no map to take, which is noted. */
async function explainFinished(
  folder: string,
  settings: RunSettings,
  { dataset, engine, signal }: StudyRequest,
  report: (run: StudyProgress["run"]) => void,
): Promise<{ readonly explained?: RunScores } | "interrupted"> {
  const at = runFolder(folder, settings);
  try {
    const explained = await explainRun({
      ...{ folder: at, dataset, signal },
      engine: engineToGoOn(await readRunFile(at), engine, () => undefined), // training has told
      onProgress: (progress) => report({ kind: "explain", ...progress }),
    });
    return { explained };
  } catch (error) {
    if (signal?.aborted) return "interrupted";
    if (!(error instanceof NoMaps)) throw error;
    report({ kind: "note", text: error.message });
    return {};
  }
}

/** Writes a finished run in every format; false when it is interrupted, and what is missing is written next time. */
async function exported(
  folder: string,
  signal: AbortSignal | undefined,
  report: (run: StudyProgress["run"]) => void,
): Promise<boolean> {
  const exporting = completeExports(folder, (text) => report({ kind: "note", text })).then(() => true);
  return (await orInterrupted(unlessAborted(exporting, signal), signal)) ?? false;
}

/** Finished runs of the same variants with seeds that are not asked for now: the report keeps them. */
async function finishedBefore(folder: string, asked: readonly RunSettings[]): Promise<FinishedRun[]> {
  const variants = new Set(asked.map(({ variant }) => variant));
  const seeds = new Set(asked.map(({ seed }) => seed));
  const found: FinishedRun[] = [];
  for (const { folder: run, file } of await trainedRuns(folder)) {
    const { settings, figures, status } = file;
    if (status !== "done" || !figures || !variants.has(settings.variant) || seeds.has(settings.seed))
      continue;
    const [epochs, test] = [await readMetrics(run), await readTest(run)];
    const explained = await readRunScores(run);
    found.push({ settings, figures, epochs, test, ...(explained && { explained }) });
  }
  return found;
}

/** @param folder of the study. */
export function runFolder(folder: string, { variant, seed }: Pick<RunSettings, "variant" | "seed">): string {
  return join(folder, variant, `seed-${seed}`);
}
