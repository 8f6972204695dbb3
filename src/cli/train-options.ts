import { type Command, InvalidArgumentError, Option } from "commander";
import { check, expectChecked } from "../study/issues.ts";
import { merge, type Table } from "../study/merge.ts";
import type { StudyData } from "../study/study.ts";
import { trainSchema } from "../train/options.ts";
import type { TrainOptions } from "../train/types.ts";
import { count, decimal, whole, words } from "./common.ts";

interface Flag {
  readonly flag: string;
  readonly about: string;
  readonly parse?: (text: string) => unknown;
  /** Its place in `train` of a study file. */
  readonly path: readonly string[];
}

const FLAGS: readonly Flag[] = [
  { flag: "--epochs <n>", about: "times through the training images", parse: count, path: ["epochs"] },
  { flag: "--batch <n>", about: "images a step", parse: count, path: ["batch"] },
  { flag: "--optimizer <name>", about: "sgd, adam or adamw", path: ["optimizer", "name"] },
  { flag: "--lr <rate>", about: "rate the schedule starts from", parse: decimal, path: ["optimizer", "lr"] },
  { flag: "--momentum <share>", about: "of sgd", parse: decimal, path: ["optimizer", "momentum"] },
  {
    flag: "--weight-decay <x>",
    about: "of the optimizer",
    parse: decimal,
    path: ["optimizer", "weightDecay"],
  },
  { flag: "--schedule <name>", about: "constant, step, cosine …", path: ["schedule", "name"] },
  { flag: "--warmup <epochs>", about: "epochs in which the rate rises", parse: decimal, path: ["warmup"] },
  { flag: "--augment <list>", about: "crop,flip,cutout", parse: words, path: ["augment"] },
  { flag: "--label-smoothing <x>", about: "of the targets", parse: decimal, path: ["labelSmoothing"] },
  { flag: "--freeze <list>", about: "layers not to train: stem,layer1", parse: words, path: ["freeze"] },
  {
    flag: "--body-rate <share>",
    about: "rate of all but the last layer, as a share of the rate",
    parse: decimal,
    path: ["bodyRate"],
  },
];

/** Flags that say how to train and what to hold back; what is not said is as in a study file. */
export function withTrainOptions(command: Command): Command {
  for (const { flag, about, parse } of FLAGS) {
    const option = new Option(flag, about);
    command.addOption(parse ? option.argParser(parse) : option);
  }
  return command
    .option("--validation <n>", "training images held back, or test (default: a tenth)", validation)
    .addOption(new Option("--normalize <by>").choices(["channel", "scalar"]).default("channel"));
}

export interface HeldOutOptions {
  readonly validation?: StudyData["validation"];
  readonly normalize: StudyData["normalize"];
}

/** @throws UserError for values that training refuses. */
export function trainOptionsOf(given: Readonly<Record<string, unknown>>): TrainOptions {
  const defaults: Table = { optimizer: trainSchema.parse({}).optimizer };
  const options = FLAGS.reduce<Table>((known, { flag, path }) => {
    const value = given[new Option(flag).attributeName()];
    return value === undefined ? known : merge(known, nested(path, value), true);
  }, defaults);
  return expectChecked(check(trainSchema, options));
}

const nested = (path: readonly string[], value: unknown): Table =>
  path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Table;

function validation(text: string): number | "test" {
  if (text === "test") return text;
  try {
    return whole(text);
  } catch {
    throw new InvalidArgumentError("It must be a whole number, or test.");
  }
}
