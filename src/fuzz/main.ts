#!/usr/bin/env node
import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { memory } from "../engine/memory.ts";
import { textTable } from "../report/text-table.ts";
import { UserError } from "../tensor/errors.ts";
import { fuzz, type Tally } from "./run.ts";
import { makeTargets } from "./targets.ts";

/** A reader may take this much beside what node itself does. */
const MOST_BYTES = 2 ** 30;
/** Silence of a process that reads means that it hangs. */
const SILENT_MS = 20_000;

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly only?: string[];
  readonly target?: string;
}

const options = new Command("fuzz")
  .description("Gives every reader of files changed ones: each is read or refused, soon, in little memory.")
  .option("--runs <n>", "inputs for each reader", Number, 100_000)
  .option("--seed <n>", "of the changes", Number, 1)
  .option("--only <names...>", "readers, by name")
  .addOption(new Option("--target <name>", "read in this process").hideHelp())
  .addHelpText("after", "\nExample: npm run fuzz -- --runs 1000 --only tar images")
  .parse()
  .opts<Options>();

interface Report extends Tally {
  readonly peakBytes: number;
}

/** One reader in a process of its own, whose memory and time are its own. */
function fuzzApart(target: string, { runs, seed }: Options): Promise<Report> {
  const self = fileURLToPath(import.meta.url);
  const args = ["--target", target, "--runs", `${runs}`, "--seed", `${seed}`];
  const child = fork(self, args, {
    execArgv: ["--max-old-space-size=512"],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  return new Promise((resolve, reject) => {
    let last = 0;
    let problem = "";
    const hang = () => {
      problem = `hangs at input ${last}`;
      child.kill("SIGKILL");
    };
    let silence = setTimeout(hang, SILENT_MS);
    child.on("message", (message: number | Report) => {
      clearTimeout(silence);
      if (typeof message !== "number") resolve(message);
      else {
        last = message;
        silence = setTimeout(hang, SILENT_MS);
      }
    });
    child.stderr?.on("data", (chunk) => {
      problem = `${problem}${chunk}`.slice(-4000);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(silence);
      if (code !== 0)
        reject(
          new UserError(
            `${target}: ${problem || `ended by ${signal ?? code}`} (seed ${seed}, near input ${last})`,
          ),
        );
    });
  });
}

async function fuzzHere(name: string, { runs, seed }: Options, folder: string): Promise<void> {
  const target = (await makeTargets(folder)).find((one) => one.name === name);
  if (!target) throw new UserError(`no reader is called ${name}`);
  const kept = join(tmpdir(), "atento-fuzz-input");
  let current: Buffer = Buffer.alloc(0);
  try {
    const tally = await fuzz(target, runs, seed, (index, input) => {
      current = input;
      if (index % 500 === 0) process.send?.(index);
    });
    const peakBytes = 1024 * process.resourceUsage().maxRSS;
    if (peakBytes > MOST_BYTES) throw new UserError(`took ${memory(peakBytes)}`);
    process.send?.({ ...tally, peakBytes });
  } catch (error) {
    writeFileSync(kept, current);
    throw new UserError(`${(error as Error).message}; the input is kept in ${kept}`);
  }
}

async function main(folder: string): Promise<void> {
  if (options.target !== undefined) return fuzzHere(options.target, options, folder);
  const names = (await makeTargets(folder)).map(({ name }) => name);
  const reports: Report[] = [];
  for (const name of names) {
    if (options.only && !options.only.includes(name)) continue;
    const began = performance.now();
    reports.push(await fuzzApart(name, options));
    process.stderr.write(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
  }
  const right = (title: string, cell: (row: Report) => string) => ({ title, align: "right" as const, cell });
  const columns = [
    { title: "reader", cell: ({ target }: Report) => target },
    right("inputs", ({ inputs }) => inputs.toLocaleString("en-US")),
    right("refused", ({ refused }) => refused.toLocaleString("en-US")),
    right("read", ({ accepted }) => accepted.toLocaleString("en-US")),
    right("slowest", ({ slowestMs }) => `${slowestMs.toFixed(0)} ms`),
    right("memory", ({ peakBytes }) => memory(peakBytes)),
  ];
  process.stdout.write(
    `${textTable(columns, reports)}\nno crash, no hang, none beyond ${memory(MOST_BYTES)}\n`,
  );
}

const folder = mkdtempSync(join(tmpdir(), "atento-fuzz-"));
try {
  await main(folder);
} catch (error) {
  process.stderr.write(`error: ${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
  if (options.target !== undefined) process.disconnect?.();
}
