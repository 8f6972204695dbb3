import { join } from "node:path";
import { Command } from "commander";
import type { Dataset } from "../data/dataset.ts";
import { type DataSource, sourceFromText } from "../data/registry.ts";
import { fingerprintOf, loadPretrained } from "../exchange/pretrained.ts";
import { makeFolder } from "../files/durable.ts";
import { resolveModel } from "../models/options.ts";
import { counted, duration, grouped, percent, rate, scaled } from "../report/numbers.ts";
import { resolveData } from "../study/settings.ts";
import { folderName } from "../study/study.ts";
import { UserError } from "../tensor/errors.ts";
import { trainRun } from "../train/trainer.ts";
import type { RunFigures, RunSettings } from "../train/types.ts";
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
import { Interrupted } from "./errors.ts";
import { interruptible } from "./interrupt.ts";
import { modelNames, modelOf, withModelOptions } from "./model-options.ts";
import { Narrator } from "./progress.ts";
import { type HeldOutOptions, trainOptionsOf, withTrainOptions } from "./train-options.ts";

interface Options extends SharedOptions, HeldOutOptions {
  readonly name?: string;
  readonly attention?: string;
  readonly pretrained?: string;
}

export function trainCommand(): Command {
  const command = withTrainOptions(withModelOptions(new Command("train")))
    .description("train one model: OUT/train/NAME/seed-N; the same command resumes")
    .argument("<model>", modelNames)
    .option("--name <name>", "of the run (default: model and attention, resnet50-se)")
    .option("--pretrained <file>", "model file or run whose weights to start from, taken by name");
  withShared(command, "out", "data", "threads", "seed", "checkpointEvery");
  withExample(
    command,
    "atento train resnet26 --attention se --no-bias --epochs 10 --optimizer adam --lr 1e-3",
  );
  return command.action(async (model: string, options: Options) => {
    const given = options as unknown as Record<string, unknown>;
    const modelOptions = modelOf(model, given);
    resolveModel(modelOptions, 2);
    const train = trainOptionsOf(given);
    const source = sourceFromText(options.data ?? "shapes");
    const variant = runName(options.name ?? [model, options.attention ?? []].flat().join("-"));
    const { validation, normalize, out, seed = 1 } = options;
    const pretrained = options.pretrained === undefined ? undefined : await fingerprintOf(options.pretrained);
    await makeFolder(out);
    await trainShown(join(out, "train", variant, `seed-${seed}`), source, options, (dataset) => {
      const data = resolveData({ source, validation, normalize }, dataset);
      const model = resolveModel(modelOptions, dataset.classes.length);
      return { variant, seed, model, data, train, ...(pretrained && { pretrained }) };
    });
  });
}

/** Trains or continues the run of a folder, with progress, and prints its figures. @throws Interrupted when it was. */
export async function trainShown(
  folder: string,
  source: DataSource,
  options: Pick<SharedOptions, "threads" | "json" | "checkpointEvery">,
  settingsFor: (dataset: Dataset) => RunSettings,
): Promise<void> {
  const show: Display = display();
  const engine = engineFor(options, show);
  const narrator = new Narrator(show);
  const { status, figures } = await interruptible(show, async (signal) => {
    const dataset = await loadShown(source, show, signal);
    const settings = settingsFor(dataset);
    const onProgress = narrator.forRun(settings);
    const checkpointMs = 1000 * options.checkpointEvery;
    const { pretrained } = settings;
    return trainRun({
      ...{ folder, settings, dataset, engine, signal, onProgress, checkpointMs },
      ...(pretrained && { pretrained: () => loadPretrained(pretrained) }),
    });
  });
  show.clear();
  if (status === "interrupted" || !figures) {
    if (options.json) answer(options, { status, folder }, "");
    throw new Interrupted(`saved in ${folder}`);
  }
  answer(options, { status, folder, figures }, describe(folder, figures));
}

/** @throws UserError for a name that no folder should have. */
function runName(name: string): string {
  const checked = folderName.safeParse(name);
  if (!checked.success)
    throw new UserError(`--name ${JSON.stringify(name)} ${checked.error.issues[0].message}`);
  return name;
}

function describe(folder: string, figures: RunFigures): string {
  const accuracy = (what: string, fraction: number, loss: number) =>
    `${what} accuracy ${percent(fraction)} %, loss ${loss.toFixed(4)}`;
  const { validationAccuracy, validationLoss, parameters, statistics, multiplyAdds, epochs } = figures;
  return [
    accuracy("training", figures.trainAccuracy, figures.trainLoss),
    ...(validationAccuracy !== undefined && validationLoss !== undefined
      ? [accuracy("validation", validationAccuracy, validationLoss)]
      : []),
    accuracy("test", figures.testAccuracy, figures.testLoss),
    `${grouped(parameters)} parameters and ${grouped(statistics)} running statistics, ${scaled(multiplyAdds)} multiply-adds`,
    `${counted(epochs, "epoch")} in ${duration(figures.elapsedMs)}, ${rate(figures.imagesPerSecond)} images/s`,
    folder,
  ].join("\n");
}
