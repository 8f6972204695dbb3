import { Command, Option } from "commander";
import { type DataSource, sourceFromText } from "../data/registry.ts";
import { dataSourceSchema } from "../data/schema.ts";
import { loadModel } from "../exchange/formats.ts";
import { grouped, percent } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { check, expectChecked } from "../study/issues.ts";
import { UserError } from "../tensor/errors.ts";
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
import { interruptible } from "./interrupt.ts";

/** Images of a folder are brought to the size that the model was trained on. */
function atSizeOf([height, width]: readonly [number, number], source: DataSource): DataSource {
  return source.source === "folder" ? { ...source, size: [height, width] } : source;
}

/** The data named on the command line, else those the model was trained on. */
function sourceOf(path: string, { data }: Trained, named: string | undefined): DataSource {
  if (named !== undefined) return sourceFromText(named);
  if (data) return expectChecked(check(dataSourceSchema, data.source, ["data", "source"]));
  throw new UserError(`${path}: does not say what it was trained on: name the data with --data`);
}

interface Options extends SharedOptions {
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
  withExample(command, "atento eval runs/quick/se/seed-1", "atento eval model.h5 --data folder:photos");
  return command.action(async (path: string, options: Options) => {
    const trained = await loadModel(path);
    const source = atSizeOf(trained.image, sourceOf(path, trained, options.data));
    const show = display();
    const engine = engineFor(options, show);
    const { part, batch } = options;
    const { dataset, evaluation } = await interruptible(show, async (signal) => {
      const dataset = await loadShown(source, show, signal);
      const evaluation = await evaluateRun({
        path,
        trained,
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
      { path, data: dataset.name, part, ...evaluation },
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
