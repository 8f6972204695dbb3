import { dirname } from "node:path";
import { Command, Option } from "commander";
import { contactSheet } from "../data/contactSheet.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import { SOURCES, sourceFromText } from "../data/registry.ts";
import { cacheFolder } from "../data/source.ts";
import { classCounts } from "../data/split.ts";
import { makeFolder, writeDurably } from "../files/durable.ts";
import { grouped } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { answer, count, display, loadShown, withExample, withShared } from "./common.ts";

export function dataCommand(): Command {
  const command = new Command("data").description("data sets: what there is, fetch, look at");
  withExample(command, "atento data preview shapes --to sheet.png");
  return command.addCommand(list()).addCommand(get()).addCommand(preview());
}

interface JsonOption {
  readonly json?: boolean;
}

function list(): Command {
  const command = withShared(new Command("list")).description("kinds of data source");
  withExample(command, "atento data list");
  return command.action((options: JsonOption) => {
    const sources = Object.values(SOURCES).map(({ name, usage, summary }) => ({ name, usage, summary }));
    const columns: Column<(typeof sources)[number]>[] = [
      { title: "source", cell: ({ name }) => name },
      { title: "--data", cell: ({ usage }) => usage },
      { title: "what it is", cell: ({ summary }) => summary },
    ];
    const cache = cacheFolder({});
    answer(
      options,
      { sources, cache },
      `${textTable(columns, sources)}\n\nDownloads and packed images: ${cache}`,
    );
  });
}

function get(): Command {
  const command = withShared(new Command("get"))
    .description("read a data set, downloading it where it is missing, and say what is in it")
    .argument("<source>", "cifar10, cifar10:PATH, shapes or folder:PATH (a folder or a tar)");
  withExample(command, "atento data get folder:photos");
  return command.action(async (source: string, options: JsonOption) => {
    const dataset = await loadShown(sourceFromText(source), display());
    const { name, height, width, classes, fingerprint, train, test } = dataset;
    const rows = classCountsOf(dataset);
    const document = {
      name,
      image: [height, width],
      classes,
      train: train.count,
      test: test.count,
      masks: train.masks !== undefined,
      perClass: rows,
      fingerprint,
    };
    answer(options, document, describe(dataset, rows));
  });
}

interface ClassRow {
  readonly name: string;
  readonly train: number;
  readonly test: number;
}

function classCountsOf({ classes, train, test }: Dataset): ClassRow[] {
  const counts = (split: Split) => classCounts(split.labels, classes.length);
  const [inTrain, inTest] = [counts(train), counts(test)];
  return classes.map((name, k) => ({ name, train: inTrain[k], test: inTest[k] }));
}

function describe(
  { name, height, width, train, test, fingerprint }: Dataset,
  rows: readonly ClassRow[],
): string {
  const columns: Column<ClassRow>[] = [
    { title: "class", cell: (row) => row.name },
    { title: "train", align: "right", cell: (row) => grouped(row.train) },
    { title: "test", align: "right", cell: (row) => grouped(row.test) },
  ];
  return [
    `${name}: ${grouped(train.count)} training and ${grouped(test.count)} test images of ${height}×${width}, ` +
      `${rows.length} classes${train.masks ? ", with masks" : ""}`,
    `fingerprint ${fingerprint}`,
    "",
    textTable(columns, rows),
  ].join("\n");
}

interface PreviewOptions extends JsonOption {
  readonly to: string;
  readonly perClass: number;
  readonly split: "train" | "test";
  readonly masks?: boolean;
}

function preview(): Command {
  const command = withShared(new Command("preview"))
    .description("draw a contact sheet of a data set: a row a class")
    .argument("<source>", "cifar10, cifar10:PATH, shapes or folder:PATH (a folder or a tar)")
    .option("--to <file>", "PNG to write", "preview.png")
    .option("--per-class <n>", "images a class", count, 10)
    .addOption(new Option("--split <part>", "which images").choices(["train", "test"]).default("train"))
    .option("--masks", "outline the objects, where the data set knows them");
  withExample(command, "atento data preview shapes --to sheet.png --masks");
  return command.action(async (source: string, options: PreviewOptions) => {
    const dataset = await loadShown(sourceFromText(source), display());
    const { to, perClass, split, masks } = options;
    await makeFolder(dirname(to));
    await writeDurably(to, await contactSheet(dataset, { perClass, split, masks }));
    answer(options, { file: to, name: dataset.name, classes: dataset.classes }, `wrote ${to}`);
  });
}
