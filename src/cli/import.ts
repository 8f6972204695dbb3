import { readFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { Command } from "commander";
import { importModel } from "../exchange/import.ts";
import { makeFolder } from "../files/durable.ts";
import { stems } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { describeAdoption } from "../train/adopt.ts";
import { writeTrained } from "../train/trained.ts";
import { answer, counts, display, withExample } from "./common.ts";
import { type GivenOptions, givenBy, loadGiven, tellAssumed, withGiven } from "./given.ts";

interface Options extends GivenOptions {
  readonly out?: string;
  readonly classes?: string;
  readonly into?: string;
  readonly stem?: string;
  readonly strides?: readonly number[];
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
    .option("--stem <name>", `${Object.keys(stems).join(", ")} (default: by its kernel, imagenet or cifar)`)
    .option("--strides <list>", "stride of each stage (default: 1,2,2,2)", counts)
    .option(
      "--into <model>",
      "run or model file whose weights the file holds, where it says nothing of a model",
    )
    .option("--json", "one JSON document on stdout, nothing else");
  withGiven(command, " (default of a state dict: 224; normalised as ImageNet's)");
  withExample(command, "atento import seresnet50.safetensors --classes imagenet.txt");
  return command.action(async (file: string, options: Options) => {
    const { classes, stem, strides, into } = options;
    const out = options.out ?? `${basename(file, extname(file))}.atento.safetensors`;
    if (extname(out) !== ".safetensors")
      throw new UserError(`--out ${out}: expected a name that ends in .safetensors`);
    if (resolve(out) === resolve(file))
      throw new UserError(`--out ${out}: is the file itself: choose another name`);
    if (into !== undefined && (stem !== undefined || strides !== undefined)) {
      throw new UserError(`--into ${into}: says its stem and strides: leave --stem and --strides away`);
    }
    const show = display();
    show.bars([{ label: "import", text: file }]);
    // of a file of weights alone it is the other model that may have to be told of
    const given = givenBy(options);
    const { trained, architecture, taken, left } = await importModel(file, {
      ...(into === undefined && { stem, strides, ...given }),
      classes: classes === undefined ? undefined : await linesOf(classes),
      into: into === undefined ? undefined : await loadGiven(into, options),
    });
    tellAssumed(show, file, trained, "class 0, class 1 …");
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

async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((error: Error) => {
    throw new UserError(`--classes ${path}: cannot be read (${error.message})`);
  });
  return text.split(/\r?\n/).filter((line) => line.trim() !== "");
}
