#!/usr/bin/env node
import { availableParallelism, cpus } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import { stems, unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { camText, measureCam } from "./cam.ts";
import { ratiosOf } from "./compare.ts";
import { costText, measureCost } from "./cost.ts";
import { measure, type Variant } from "./measure.ts";
import { opponents, type Places } from "./opponents.ts";
import { documentOf, textOf } from "./print.ts";
import { measureRows, type Single } from "./rows.ts";

const batches: Readonly<Record<string, number>> = { cifar: 32, pooled: 64, imagenet: 128, study: 8 };

interface Options extends Places {
  readonly stem: readonly string[];
  readonly attention: readonly string[];
  readonly batch?: number;
  readonly steps: number;
  readonly rounds: number;
  readonly threads?: readonly number[];
  readonly isa?: readonly NonNullable<Variant["isa"]>[];
  readonly passes: boolean;
  readonly against: readonly string[];
  readonly profile?: boolean;
  readonly cam?: number;
  readonly cost?: boolean;
  readonly json?: boolean;
  readonly single?: string;
}

const program = new Command("npm run bench --")
  .description("Training and inference of ResNet-50 on random 32×32 images, ours and others', in one run.")
  .option("--stem <names...>", "cifar, pooled, imagenet, study", ["cifar"])
  .option("--attention <names...>", "none, se, cbam, eca; those after none are compared with it", ["none"])
  .option("--batch <n>", "images a step (default: cifar 32, pooled 64, imagenet 128, study 8)", count)
  .option("--steps <n>", "timed steps of a measurement, after two that are not", count, 3)
  .option("--rounds <n>", "measurements of each program, in turns; the median counts", count, 1)
  .option(
    "--threads <n...>",
    "threads, of the others too (default: all processors); 1 2 tells how we scale",
    counts,
  )
  .addOption(
    new Option("--isa <names...>", "instruction sets, a line each (default: the best)").choices([
      "baseline",
      "avx2",
      "avx512",
    ]),
  )
  .option("--no-passes", "one more line: without the compile passes")
  .option("--against <names...>", Object.keys(opponents).join(", "), [])
  .option("--python <path>", "Python that has PyTorch", "python3")
  .option("--tensorflow-python <path>", "Python that has TensorFlow (default: that of --python)")
  .option("--tfjs <folder>", "folder whose node_modules has TensorFlow.js", ".")
  .option("--cam <images>", "heatmaps of so many images instead; --against torch: pytorch-grad-cam", count)
  .option(
    "--cost",
    "training steps of the --attention variants in turns in one process instead; of the first --threads and --isa",
  )
  .option("--profile", "where the time of a training step goes")
  .option("--json", "one JSON document")
  .addOption(new Option("--single <settings>", "measure in this process").hideHelp())
  .addHelpText(
    "after",
    `
Examples:
  npm run bench -- --attention none se cbam --against torch torch-compile --python PATH --rounds 3
  npm run bench -- --against tensorflow tfjs --tensorflow-python PATH --tfjs FOLDER
  npm run bench -- --cost --attention none se cbam --steps 15
  npm run bench -- --cam 1000 --stem pooled --rounds 3 --against torch --python PATH
  npm run bench -- --threads 1 2 --isa avx2 avx512 --no-passes`,
  );

function count(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("It must be a whole number above 0.");
  return Number(text);
}

function counts(text: string, before: readonly number[] = []): readonly number[] {
  return [...before, count(text)];
}

async function main(options: Options): Promise<void> {
  if (options.single !== undefined) {
    const { workload, variant, profile } = JSON.parse(options.single) as Single;
    console.log(JSON.stringify(await measure(workload, variant, profile)));
    return;
  }
  for (const stem of options.stem) {
    if (!Object.hasOwn(stems, stem)) throw unknownName("stem", stem, Object.keys(stems));
  }
  const rivals = options.against.flatMap((name) => {
    if (!Object.hasOwn(opponents, name)) throw unknownName("opponent", name, Object.keys(opponents));
    return opponents[name];
  });
  const { attention, batch, steps, rounds, threads = [availableParallelism()], isa = [undefined] } = options;
  if (options.cam !== undefined) {
    await benchCam(options, options.cam, threads);
    return;
  }
  if (options.cost) {
    await benchCost(options, threads[0], { isa: isa[0], passes: options.passes });
    return;
  }
  const variants = isa.flatMap((set) =>
    (options.passes ? [true] : [true, false]).map((passes) => ({ isa: set, passes })),
  );
  if (!options.json) {
    const processor = `${cpus()[0].model}, Node ${process.versions.node}`;
    console.log(`${processor}, medians of ${rounds} × ${steps} steps`);
  }
  const documents: object[] = [];
  for (const stem of options.stem) {
    const workloads = attention.flatMap((name) =>
      threads.map((n) => ({ stem, attention: name, batch: batch ?? batches[stem], steps, threads: n })),
    );
    const rows = await measureRows(workloads, variants, rivals, options);
    for (const row of rows) {
      const ratios = ratiosOf(row, rows);
      documents.push(documentOf(row, ratios));
      if (!options.json) console.log(`\n${textOf(row, ratios)}`);
    }
  }
  if (options.json) printJson(documents);
}

function printJson(documents: readonly object[]): void {
  console.log(JSON.stringify(documents.length === 1 ? documents[0] : documents, null, 2));
}

async function benchCost(
  { stem, attention, batch, steps, json }: Options,
  threads: number,
  variant: Variant,
): Promise<void> {
  const documents: object[] = [];
  for (const name of stem) {
    const workload = { stem: name, attention, batch: batch ?? batches[name], steps, threads };
    const costs = await measureCost(workload, variant, (step) =>
      process.stderr.write(`${name}: step ${step + 1} of ${steps}\n`),
    );
    documents.push({ ...workload, ...variant, costs });
    if (!json) console.log(`\n${costText(workload, costs)}`);
  }
  if (json) printJson(documents);
}

async function benchCam(
  { stem, attention, rounds, against, python, json }: Options,
  images: number,
  threads: readonly number[],
): Promise<void> {
  const documents: object[] = [];
  for (const name of stem) {
    for (const kind of attention) {
      const workload = { stem: name, attention: kind, images, rounds, threads: threads[0] };
      const speeds = await measureCam(workload, against.includes("torch") ? python : undefined);
      documents.push({ ...workload, ...speeds });
      if (!json) console.log(`\n${camText(workload, speeds)}`);
    }
  }
  if (json) printJson(documents);
}

try {
  program.parse();
  await main(program.opts<Options>());
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 2;
}
