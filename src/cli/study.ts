import { Command, InvalidArgumentError, Option } from "commander";
import { sourceFromText } from "../data/registry.ts";
import { makeFolder } from "../files/durable.ts";
import type { Language } from "../report/page/texts/index.ts";
import { sentences, studyTable } from "../report/table.ts";
import { writeReport } from "../report/write.ts";
import { loadStudy, presetNames } from "../study/presets.ts";
import type { FailedRun } from "../study/results.ts";
import { runStudy } from "../study/run.ts";
import type { Study } from "../study/study.ts";
import { UserError } from "../tensor/errors.ts";
import { orInterrupted, unlessAborted } from "../train/abort.ts";
import {
  answer,
  display,
  engineFor,
  languageOption,
  loadShown,
  type SharedOptions,
  whole,
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
  readonly seeds?: number[];
  readonly lang: Language;
}

export function studyCommand(): Command {
  const command = withShared(new Command("study"), "out", "data", "threads", "seed", "checkpointEvery")
    .description("train what a study lacks, then print and write the comparison; the same command resumes")
    .argument("[study]", `a study file, or a preset: ${presetNames().join(", ")}`, "quick")
    .addOption(
      new Option("--seeds <list>", "seeds to train each variant with, such as 1,2,3")
        .argParser(seedList)
        .conflicts("seed"),
    )
    .addOption(languageOption())
    .option("--dry-run", "only say what would be trained, and how long it would take here");
  withExample(command, "atento study quick --seeds 1,2,3", "atento study my-study.yaml --out /data/runs");
  return command.action(async (fileOrName: string, options: Options) => {
    const study = adjusted(await loadStudy(fileOrName), options);
    const show = display();
    const engine = engineFor(options, show);
    const again = commandOf(fileOrName, options);
    await (options.dryRun
      ? dryRun(study, engine, options, show)
      : train(study, engine, options, show, again));
  });
}

function seedList(text: string): number[] {
  const seeds = text.split(",").map((part) => whole(part.trim()));
  if (new Set(seeds).size < seeds.length) throw new InvalidArgumentError("It must not name a seed twice.");
  return seeds;
}

/** The study with what the command line says otherwise. */
function adjusted(study: Study, { data, seed, seeds }: Options): Study {
  return {
    ...study,
    ...(data !== undefined && { data: { ...study.data, source: sourceFromText(data) } }),
    ...(seed !== undefined && { seeds: [seed] }),
    ...(seeds !== undefined && { seeds }),
  };
}

/** What to type to do it again. */
function commandOf(fileOrName: string, { data, seed, seeds, out }: Options): string {
  const words = [
    ...["npx", "atento", "study", fileOrName],
    ...(data === undefined ? [] : ["--data", data]),
    ...(seed === undefined ? [] : ["--seed", String(seed)]),
    ...(seeds === undefined ? [] : ["--seeds", seeds.join(",")]),
    ...(out === "runs" ? [] : ["--out", out]),
  ];
  return words
    .map((word) => (/^[\w./:,=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}

async function train(
  study: Study,
  engine: ReturnType<typeof engineFor>,
  options: Options,
  show: Display,
  command: string,
) {
  await makeFolder(options.out);
  const narrator = new Narrator(show, study.name);
  const { outcome, files } = await interruptible(show, async (signal) => {
    const dataset = await loadShown(study.data.source, show, signal);
    const outcome = await runStudy(study, {
      out: options.out,
      dataset,
      engine,
      signal,
      command,
      checkpointMs: 1000 * options.checkpointEvery,
      onProgress: (progress) => narrator.report(progress),
    });
    show.clear();
    if (outcome.status === "interrupted" || !outcome.results) return { outcome };
    const writing = writeReport(outcome.folder, { language: options.lang });
    const files = await orInterrupted(unlessAborted(writing, signal), signal);
    return { outcome, files };
  });
  const { folder, failed, results } = outcome;
  const status = outcome.results && !files ? "interrupted" : outcome.status;
  if (status === "interrupted") {
    if (options.json) answer(options, { status, folder, results }, "");
    throw new Interrupted(`saved in ${folder}`);
  }
  if (!results || !files) throw unfinished(failed);
  const page = files[0];
  answer(
    options,
    { status, folder, page, files, results },
    `${studyTable(results)}\n\n${sentences(results, options.lang)}\n\n${page}: everything on one page; beside it tables, charts and curves`,
  );
  if (failed.length > 0) throw unfinished(failed);
}

function unfinished(failed: readonly FailedRun[]): UserError {
  const runs = failed.map(({ variant, seed, what }) => `${variant}, seed ${seed} (${what})`);
  return new UserError(
    `not finished: ${runs.join("; ")}: lower its train.optimizer.lr or add train.warmup, and name the variant anew`,
  );
}
