#!/usr/bin/env node
import { execFile } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command, Option } from "commander";
import { stems, unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { type BenchSettings, type Measurement, measure } from "./measure.ts";
import { measureOpponent, opponents } from "./opponents.ts";
import { printProfile, printRow, type Row } from "./print.ts";

const batches: Readonly<Record<string, number>> = { cifar: 32, pooled: 64, imagenet: 128, study: 8 };

interface Options {
  stem?: string[];
  attention?: string[];
  batch?: number;
  steps: number;
  rounds: number;
  threads?: number;
  isa?: BenchSettings["isa"];
  against?: string[];
  python: string;
  profile?: boolean;
  json?: boolean;
  single?: boolean;
}

const program = new Command("bench")
  .description("Training and inference of ResNet-50 on random 32×32 images, ours and others', in one run.")
  .option("--stem <names...>", "cifar, pooled, imagenet, study (default: cifar)")
  .option("--attention <names...>", "none, se, cbam, eca (default: none)")
  .option("--batch <n>", "images a step (default: cifar 32, pooled 64, imagenet 128, study 8)", Number)
  .option("--steps <n>", "timed steps of a measurement, after two that are not", Number, 3)
  .option("--rounds <n>", "measurements of each program, in turns; the median counts", Number, 1)
  .option("--threads <n>", "threads, of the others too (default: all processors)", Number)
  .addOption(new Option("--isa <name>", "instruction set").choices(["baseline", "avx2", "avx512"]))
  .option("--against <names...>", Object.keys(opponents).join(", "))
  .option("--python <path>", "Python that has them", "python3")
  .option("--profile", "where the time of a training step goes")
  .option("--json", "one JSON document")
  .addOption(new Option("--single", "measure in this process").hideHelp())
  .addHelpText(
    "after",
    "\nExample: npm run bench -- --stem cifar --attention none se --against torch --rounds 3",
  );

/** Every measurement has a process of its own, so that its peak memory is its own. */
async function measureApart(settings: BenchSettings): Promise<Measurement> {
  const flags = Object.entries(settings).flatMap(([key, value]) =>
    value === undefined ? [] : [`--${key}`, `${value}`],
  );
  const self = fileURLToPath(import.meta.url);
  const { stdout } = await promisify(execFile)(process.execPath, [self, "--single", "--json", ...flags]);
  return (JSON.parse(stdout) as Row[])[0].programs[0].median;
}

const middle = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

function medians(measurements: Measurement[]): Measurement {
  const keys = Object.keys(measurements[0]).filter(
    (key) => typeof measurements[0][key as keyof Measurement] === "number",
  );
  const entries = keys.map((key) => [
    key,
    middle(measurements.map((m) => m[key as keyof Measurement] as number)),
  ]);
  return Object.fromEntries(entries) as Measurement;
}

async function row(settings: BenchSettings, options: Options): Promise<Row> {
  const rivals = (options.against ?? []).flatMap((name) => {
    if (!Object.hasOwn(opponents, name)) throw unknownName("opponent", name, Object.keys(opponents));
    return opponents[name];
  });
  const programs = [
    { name: "Atento", run: () => measureApart(settings) },
    ...rivals.map((rival) => ({
      name: rival.name,
      run: () => measureOpponent(rival, settings, options.python),
    })),
  ];
  const results = programs.map(() => [] as Measurement[]);
  for (let round = 0; round < options.rounds; round++) {
    for (const [k, { run }] of programs.entries()) results[k].push(await run());
  }
  return { settings, programs: programs.map(({ name }, k) => ({ name, median: medians(results[k]) })) };
}

async function main(options: Options): Promise<void> {
  const { steps, threads, isa } = options;
  const rows: Row[] = [];
  if (!options.json)
    console.log(
      `${cpus()[0].model}, ${threads ?? cpus().length} threads, medians of ${options.rounds} × ${steps} steps`,
    );
  for (const stem of options.stem ?? ["cifar"]) {
    if (!Object.hasOwn(stems, stem)) throw unknownName("stem", stem, Object.keys(stems));
    for (const attention of options.attention ?? ["none"]) {
      const settings = { stem, attention, batch: options.batch ?? batches[stem], steps, threads, isa };
      if (options.single || options.profile) {
        const { measurement, profile } = await measure(settings);
        rows.push({
          settings,
          programs: [{ name: "Atento", median: measurement }],
          ...(options.profile && { profile }),
        });
      } else rows.push(await row(settings, options));
      const last = rows[rows.length - 1];
      if (!options.json) printRow(last);
      if (!options.json && last.profile) printProfile(last.profile, last);
    }
  }
  if (options.json)
    console.log(JSON.stringify(rows.length === 1 && !options.single ? flat(rows[0]) : rows, null, 2));
}

/** One row as one object: our figures at the top, the others beside them. */
const flat = ({ settings, programs: [ours, ...others], profile }: Row) => ({
  ...settings,
  ...ours.median,
  ...(others.length > 0 && { opponents: others }),
  ...(profile && { profile }),
});

try {
  program.parse();
  await main(program.opts<Options>());
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 2;
}
