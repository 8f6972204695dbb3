import { readFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import type { Normalization } from "../data/dataset.ts";
import { loadModel } from "../exchange/formats.ts";
import { importModel } from "../exchange/import.ts";
import { makeFolder } from "../files/durable.ts";
import { stems } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { describeAdoption } from "../train/adopt.ts";
import { writeTrained } from "../train/trained.ts";
import { answer, counts, decimal, display, withExample } from "./common.ts";
import { imageSize } from "./model-options.ts";

type Triple = readonly [number, number, number];

interface Options {
  readonly out?: string;
  readonly classes?: string;
  readonly image?: readonly [number, number];
  readonly into?: string;
  readonly stem?: string;
  readonly strides?: readonly number[];
  readonly mean?: Triple;
  readonly std?: Triple;
  readonly json?: boolean;
}

export function importCommand(): Command {
  const command = new Command("import")
    .description(
      "take a model of torchvision, timm or another program, to evaluate, explain, export or train on",
    )
    .argument("<file>", "a state dict as .safetensors, or a model file")
    .option("--out <file>", "to write (default: NAME.atento.safetensors in this folder)")
    .option("--classes <file>", "names of the classes, a line each (default: class 0, class 1 …)")
    .option("--image <size>", "height and width it was trained on (default: 224)", imageSize)
    .option("--stem <name>", `${Object.keys(stems).join(", ")} (default: by its kernel, imagenet or cifar)`)
    .option("--strides <list>", "stride of each stage (default: 1,2,2,2)", counts)
    .option("--mean <r,g,b>", "of its images, 0 to 1 (default: ImageNet's)", triple)
    .option("--std <r,g,b>", "deviation of its images (default: ImageNet's)", triple)
    .option(
      "--into <model>",
      "run or model file whose weights the file holds, where it says nothing of a model",
    )
    .option("--json", "one JSON document on stdout, nothing else");
  withExample(command, "atento import seresnet50.safetensors --classes imagenet.txt");
  return command.action(async (file: string, options: Options) => {
    const { classes, image, stem, strides, into } = options;
    const out = options.out ?? `${basename(file, extname(file))}.atento.safetensors`;
    if (extname(out) !== ".safetensors")
      throw new UserError(`--out ${out}: expected a name that ends in .safetensors`);
    if (resolve(out) === resolve(file))
      throw new UserError(`--out ${out}: is the file itself: choose another name`);
    const show = display();
    show.bars([{ label: "import", text: file }]);
    const { trained, architecture, taken, left } = await importModel(file, {
      ...{ image, stem, strides, normalization: normalizationOf(options) },
      classes: classes === undefined ? undefined : await linesOf(classes),
      into: into === undefined ? undefined : await loadModel(into),
    });
    await makeFolder(dirname(resolve(out)));
    await writeTrained(trained, out);
    show.clear();
    const adoption = { taken, left, made: [] };
    const heading = `${architecture ?? trained.variant}, ${trained.classes.length} classes`;
    answer(
      options,
      { file, out, model: trained.model, classes: trained.classes.length, ...adoption },
      `${heading}\n${describeAdoption(adoption)}\n${out}`,
    );
  });
}

function triple(text: string): Triple {
  const values = text.split(",").map(decimal);
  if (values.length !== 3) throw new InvalidArgumentError("It must be three numbers, such as 0.5,0.5,0.5.");
  return values as unknown as Triple;
}

function normalizationOf({ mean, std }: Options): Normalization | undefined {
  if (!mean && !std) return undefined;
  if (!mean || !std) throw new UserError("--mean and --std go together");
  if (std.some((value) => value <= 0)) throw new UserError(`--std ${std.join(",")}: must be above 0`);
  return { mean, std };
}

async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((error: Error) => {
    throw new UserError(`--classes ${path}: cannot be read (${error.message})`);
  });
  return text.split(/\r?\n/).filter((line) => line.trim() !== "");
}
