import { Command } from "commander";
import { sourceFromText } from "../data/registry.ts";
import { makeFolder } from "../files/durable.ts";
import { studyTable } from "../report/table.ts";
import { writeReport } from "../report/write.ts";
import { loadStudy, presetNames } from "../study/presets.ts";
import type { FailedRun } from "../study/results.ts";
import { runStudy } from "../study/run.ts";
import type { Study } from "../study/study.ts";
import { UserError } from "../tensor/errors.ts";
import {
  answer,
  display,
  engineFor,
  loadShown,
  type SharedOptions,
  withExample,
  withShared,
} from "./common.ts";
import type { Display } from "./display.ts";
import { dryRun } from "./dry-run.ts";
import { Interrupted } from "./errors.ts";
import { interruptible } from "./interrupt.ts";
import { Narrator } from "./progress.ts";

interface Options extends SharedOptions {
  readonly dryRun?: boolean;
}

export function studyCommand(): Command {
  const command = withShared(new Command("study"), "out", "data", "threads", "seed", "checkpointEvery")
    .description("train what a study lacks, then print and write the comparison; the same command resumes")
    .argument("[study]", `a study file, or a preset: ${presetNames().join(", ")}`, "quick")
    .option("--dry-run", "only say what would be trained, and how long it would take here");
  withExample(command, "atento study quick", "atento study my-study.yaml --out /data/runs");
  return command.action(async (fileOrName: string, options: Options) => {
    const study = adjusted(await loadStudy(fileOrName), options);
    const show = display();
    const engine = engineFor(options, show);
    await (options.dryRun ? dryRun(study, engine, options, show) : train(study, engine, options, show));
  });
}

/** The study with what the command line says otherwise. */
function adjusted(study: Study, { data, seed }: Options): Study {
  return {
    ...study,
    ...(data !== undefined && { data: { ...study.data, source: sourceFromText(data) } }),
    ...(seed !== undefined && { seeds: [seed] }),
  };
}

async function train(study: Study, engine: ReturnType<typeof engineFor>, options: Options, show: Display) {
  await makeFolder(options.out);
  const narrator = new Narrator(show, study.name);
  const outcome = await interruptible(show, async (signal) => {
    const dataset = await loadShown(study.data.source, show, signal);
    return runStudy(study, {
      out: options.out,
      dataset,
      engine,
      signal,
      checkpointMs: 1000 * options.checkpointEvery,
      onProgress: (progress) => narrator.report(progress),
    });
  });
  show.clear();
  const { status, folder, finished, failed, results } = outcome;
  if (status === "interrupted") {
    if (options.json) answer(options, { status, folder, results }, "");
    throw new Interrupted(`saved in ${folder}`);
  }
  if (!results) throw unfinished(failed);
  const files = await writeReport(folder, results, finished);
  answer(
    options,
    { status, folder, files, results },
    `${studyTable(results)}\n\n${folder}: results.json, ${listed(folder, files)}`,
  );
  if (failed.length > 0) throw unfinished(failed);
}

function unfinished(failed: readonly FailedRun[]): UserError {
  const runs = failed.map(({ variant, seed, what }) => `${variant}, seed ${seed} (${what})`);
  return new UserError(
    `not finished: ${runs.join("; ")}: lower its train.optimizer.lr or add train.warmup, and name the variant anew`,
  );
}

const listed = (folder: string, files: readonly string[]) =>
  files.map((file) => file.slice(folder.length + 1)).join(", ");
