import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { colormaps } from "../cam/draw/colormaps.ts";
import { classOf, findMethod } from "../cam/explain.ts";
import { datasetPlace, type InputImage, imageOfDataset, readPhotograph } from "../cam/images.ts";
import { methods } from "../cam/methods/registry.ts";
import type { Dataset } from "../data/dataset.ts";
import { parseJson } from "../files/json.ts";
import { counted } from "../report/numbers.ts";
import { trainedRuns } from "../study/folder.ts";
import { isTable } from "../study/merge.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";
import {
  answer,
  count,
  decimal,
  display,
  engineFor,
  loadShown,
  type SharedOptions,
  whole,
  withExample,
  withShared,
  words,
} from "./common.ts";
import type { Display } from "./display.ts";
import { explainNetworks, type Network } from "./explain-files.ts";
import { type GivenOptions, loadGiven, tellAssumed, withGiven } from "./given.ts";
import { interruptible } from "./interrupt.ts";
import { dataFor, ownData } from "./trained-data.ts";

interface Options extends Omit<SharedOptions, "seed">, GivenOptions {
  readonly method: readonly string[];
  readonly layer?: readonly string[];
  readonly class?: string;
  readonly against?: string;
  readonly colormap: string;
  readonly alpha: number;
  readonly size: number;
  readonly samples?: number;
  readonly noise?: number;
  readonly seed?: number;
}

export function explainCommand(): Command {
  const command = withShared(new Command("explain"), "threads")
    .description("heatmaps: where networks look, side by side, as pictures and numbers, and their gates")
    .argument("<run>", "a run's folder, a model's file, or a study's folder: all its variants")
    .argument(
      "[images...]",
      "paths, or cifar10:test/17, shapes:test/5, folder:PATH:test/3 (default: one a class)",
    )
    .addOption(
      new Option("--method <names>", `all, or ${[...methods.keys()].join(", ")}`)
        .argParser(words)
        .default(["grad-cam"], "grad-cam"),
    )
    .option(
      "--layer <names>",
      "one layer, or several whose maps are averaged (default: the last stage)",
      words,
    )
    .option("--class <name>", "the class to explain, by name or number (default: the predicted one)")
    .option("--against <name>", "a class to hold it against")
    .addOption(
      new Option("--colormap <name>", "of the heatmaps").choices(Object.keys(colormaps)).default("jet"),
    )
    .option("--alpha <share>", "of the heatmap over the image", share, 0.4)
    .option("--size <pixels>", "an image's shorter side in the pictures, at least", count, 160)
    .option("--samples <n>", "noisy copies of smooth-grad", count)
    .option("--noise <share>", "of smooth-grad: σ over the image's range", decimal)
    .option("--seed <n>", "of a study's runs (default: the lowest)", whole)
    .option("--out <dir>", "folder for the pictures and numbers", "heatmaps");
  withGiven(command, ", for a .h5 that takes any");
  withExample(
    command,
    "atento explain runs/quick",
    "atento explain runs/quick/se/seed-1 photo.jpg shapes:test/5 --method grad-cam,layer-cam",
    "atento explain keras.h5 photo.jpg --mean 0.473 --std 0.252",
  );
  return command.action(async (path: string, places: readonly string[], options: Options) => {
    const show = display();
    const wanted = options.method.includes("all") ? [...methods.keys()] : options.method;
    const asked = wanted.map((name) => ({ method: findMethod(name), options: methodOptions(name, options) }));
    const networks = await networksOf(path, options, show);
    const [{ trained }] = networks;
    const target = {
      class: classOf(options.class, trained.classes),
      against: classOf(options.against, trained.classes),
    };
    const engine = engineFor(options, show);
    const result = await interruptible(show, async (signal) => {
      const images = await imagesOf(path, places, trained, options.size, show, signal);
      return explainNetworks({
        ...{ networks, images, target, engine, signal, methods: asked, layers: options.layer },
        ...{ folder: options.out, colormap: options.colormap, alpha: options.alpha },
        onProgress: toldOn(show),
      });
    });
    show.clear();
    for (const note of result.notes) show.line(`note: ${note}`);
    const { document, table, files } = result;
    answer(
      options,
      document,
      `${table}\n\n${join(options.out, "sheet.png")}, explanations.json and ${counted(files - 2, "file")} beside them`,
    );
  });
}

const QUIET_MS = 30_000;

/** A bar on a terminal, else a line every half minute. */
function toldOn(show: Display): (text: string, fraction: number) => void {
  let saidAt = Date.now();
  return (text, fraction) => {
    show.bars([{ label: "explain", fraction, text }]);
    if (show.live || Date.now() - saidAt < QUIET_MS) return;
    show.line(`explain: ${text}, ${(100 * fraction).toFixed(0)} % of all`);
    saidAt = Date.now();
  };
}

function share(text: string): number {
  const value = decimal(text);
  if (value < 0 || value > 1) throw new InvalidArgumentError("It must be from 0 to 1.");
  return value;
}

/** What the command line says of a method's options. */
function methodOptions(name: string, { samples, noise }: Options) {
  const { options } = findMethod(name);
  return {
    ...("samples" in options && samples !== undefined && { samples }),
    ...("noise" in options && noise !== undefined && { noise }),
  };
}

/** The networks of a study's variants with one seed, or one run. @throws UserError when nothing is trained. */
async function networksOf(path: string, options: Options, show: Display): Promise<Network[]> {
  const { seed } = options;
  const isStudy = await stat(join(path, "study.json")).then(
    () => true,
    () => false,
  );
  if (!isStudy) {
    const trained = await loadGiven(path, options);
    tellAssumed(show, path, trained, "their numbers");
    return [{ name: trained.variant || basename(path), trained }];
  }
  const runs = (await trainedRuns(path)).filter(({ file }) => file.status === "done");
  const seeds = [...new Set(runs.map(({ file }) => file.settings.seed))].sort((a, b) => a - b);
  const chosen = seed ?? seeds[0];
  const found = runs.filter(({ file }) => file.settings.seed === chosen);
  if (found.length === 0) {
    throw new UserError(
      seeds.length === 0
        ? `${path}: no run of this study is finished: atento study`
        : `${path}: no finished run has seed ${seed}; there are ${seeds.join(", ")}`,
    );
  }
  const order = await variantsOf(path);
  found.sort((a, b) => order.indexOf(a.file.settings.variant) - order.indexOf(b.file.settings.variant));
  return Promise.all(
    found.map(async ({ folder, file }) => ({
      name: file.settings.variant,
      trained: await loadGiven(folder, options),
    })),
  );
}

/** The images asked for; without any, the first test image of each class. */
async function imagesOf(
  path: string,
  places: readonly string[],
  trained: Trained,
  size: number,
  show: Display,
  signal: AbortSignal,
): Promise<InputImage[]> {
  const loaded = new Map<string, Dataset>();
  const load = async (text: string) => {
    const known = loaded.get(text);
    if (known) return known;
    const [height, width] = trained.image;
    const source =
      text === trained.data?.source["source"] ? ownData(path, trained) : dataFor(trained.image, text);
    const dataset = await loadShown(source, show, signal);
    if (dataset.height !== height || dataset.width !== width) {
      throw new UserError(
        `${text}: has images of ${dataset.height}×${dataset.width}, the network takes ${height}×${width}`,
      );
    }
    loaded.set(text, dataset);
    return dataset;
  };
  if (places.length === 0) {
    if (!trained.data) throw new UserError(`${path}: does not say what it was trained on: name the images`);
    const dataset = await load(ownData(path, trained).source);
    const labels = [...dataset.test.labels];
    const firsts = dataset.classes.map((_, label) => labels.indexOf(label)).filter((index) => index >= 0);
    return firsts.map((index) => imageOfDataset(dataset, "test", index, size));
  }
  const images: InputImage[] = [];
  for (const text of places) {
    const place = datasetPlace(text);
    images.push(
      place
        ? imageOfDataset(await load(place.source), place.part, place.index, size)
        : await readPhotograph(text, trained.image, size),
    );
  }
  return images;
}

/** Variants in the order of study.json. */
async function variantsOf(path: string): Promise<string[]> {
  const study = parseJson(await readFile(join(path, "study.json"), "utf8"));
  return isTable(study) && isTable(study["variants"]) ? Object.keys(study["variants"]) : [];
}
