import { Command, Option } from "commander";
import type { Dataset } from "../data/dataset.ts";
import { grouped, percent } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { evaluateRun } from "../train/evaluate-run.ts";
import type { Trained } from "../train/trained.ts";
import type { Evaluation } from "../train/types.ts";
import {
  answer,
  count,
  display,
  engineFor,
  loadShown,
  type SharedOptions,
  withExample,
  withShared,
} from "./common.ts";
import { type GivenOptions, loadGiven, tellAssumed, withGiven } from "./given.ts";
import { interruptible } from "./interrupt.ts";
import { dataFor, ownData } from "./trained-data.ts";

/** Class names of the data where the file has none, in the data's order. */
const named = (trained: Trained, { classes }: Dataset): Trained =>
  trained.assumed?.includes("classes") && classes.length === trained.classes.length
    ? { ...trained, classes }
    : trained;

interface Options extends SharedOptions, GivenOptions {
  readonly part: "test" | "validation" | "train";
  readonly batch?: number;
}

export function evalCommand(): Command {
  const command = withShared(new Command("eval"), "data", "threads")
    .description("loss, accuracy, accuracy of each class and confusion matrix of a trained model")
    .argument("<run>", "a run's folder or a model file")
    .addOption(
      new Option("--part <part>", "images to judge by")
        .choices(["test", "validation", "train"])
        .default("test"),
    )
    .option("--batch <n>", "images a step", count);
  withGiven(command, ", for a .h5 that takes any");
  withExample(
    command,
    "atento eval runs/quick/se/seed-1",
    "atento eval model.safetensors --data folder:photos",
    "atento eval keras.h5 --data cifar10 --mean 0.473 --std 0.252",
  );
  return command.action(async (path: string, options: Options) => {
    const trained = await loadGiven(path, options);
    const source = options.data === undefined ? ownData(path, trained) : dataFor(trained.image, options.data);
    const show = display();
    const { assumed = [] } = trained;
    tellAssumed(show, path, trained, "those of the data, in their order");
    const engine = engineFor(options, show);
    const { part, batch } = options;
    const { dataset, evaluation } = await interruptible(show, async (signal) => {
      const dataset = await loadShown(source, show, signal);
      const evaluation = await evaluateRun({
        path,
        trained: named(trained, dataset),
        dataset,
        engine,
        part,
        batch,
        signal,
        onProgress: (progress) => {
          if (progress.kind !== "evaluate") return;
          const { done, total } = progress;
          show.bars([
            { label: part, fraction: done / total, text: `${grouped(done)} of ${grouped(total)} images` },
          ]);
        },
      });
      return { dataset, evaluation };
    });
    show.clear();
    const { loss, accuracy } = evaluation;
    const heading =
      `${path} on ${grouped(evaluation.count)} ${part} images of ${dataset.name}: ` +
      `accuracy ${percent(accuracy)} %, loss ${loss.toFixed(4)}`;
    answer(
      options,
      { path, data: dataset.name, part, ...(assumed.length > 0 && { assumed }), ...evaluation },
      `${heading}\n\n${classTable(evaluation)}`,
    );
  });
}

/** A row a class: its images, its accuracy, and how many were taken for each class, by the number of its row. */
function classTable({ perClass, confusion }: Evaluation): string {
  type Row = Evaluation["perClass"][number] & { readonly number: number; readonly counts: readonly number[] };
  const rows: Row[] = perClass.map((row, k) => ({ ...row, number: k + 1, counts: confusion[k] }));
  const columns: Column<Row>[] = [
    { title: "", align: "right", cell: ({ number }) => String(number) },
    { title: "class", cell: ({ name }) => name },
    { title: "images", align: "right", cell: ({ count }) => grouped(count) },
    { title: "acc. %", align: "right", cell: ({ count, accuracy }) => (count > 0 ? percent(accuracy) : "–") },
    ...rows.map(
      ({ number }, k): Column<Row> => ({
        title: `→${number}`,
        align: "right",
        cell: ({ counts }) => (counts[k] === 0 ? "·" : grouped(counts[k])),
      }),
    ),
  ];
  return textTable(columns, rows);
}
