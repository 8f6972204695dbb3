import { type Command, InvalidArgumentError, Option } from "commander";
import type { Dataset } from "../data/dataset.ts";
import { loadDataset } from "../data/load.ts";
import type { DataSource } from "../data/registry.ts";
import type { Progress } from "../data/source.ts";
import { createEngine } from "../engine/create.ts";
import type { Engine } from "../engine/engine.ts";
import { grouped } from "../report/numbers.ts";
import { TEXTS } from "../report/page/texts/index.ts";
import { type Display, liveDisplay, plainDisplay } from "./display.ts";

/** Options that commands share; each takes those that mean something to it. */
const shared = {
  out: () => new Option("--out <dir>", "folder of all runs").default("runs"),
  data: () =>
    new Option("--data <source>", "cifar10, cifar10:PATH, shapes or folder:PATH (a folder or a tar)"),
  threads: () =>
    new Option("--threads <n>", "threads of the native engine (default: all processors)").argParser(count),
  seed: () => new Option("--seed <n>", "of initial weights and order of images").argParser(whole),
  checkpointEvery: () =>
    new Option("--checkpoint-every <seconds>", "time between checkpoints within an epoch")
      .default(120)
      .argParser(seconds),
  json: () => new Option("--json", "one JSON document on stdout, nothing else"),
};

export interface SharedOptions {
  readonly out: string;
  readonly data?: string;
  readonly threads?: number;
  readonly seed?: number;
  /** In seconds. */
  readonly checkpointEvery: number;
  readonly json?: boolean;
}

export function withShared(command: Command, ...names: (keyof typeof shared)[]): Command {
  for (const name of names) command.addOption(shared[name]());
  return command.addOption(shared.json());
}

/** Of the report's page and sentences. */
export const languageOption = () =>
  new Option("--lang <language>", "of the report").choices(Object.keys(TEXTS)).default("en");

/** An example at the end of a command's help. */
export function withExample(command: Command, ...examples: string[]): Command {
  return command.addHelpText("after", `\nExample:\n${examples.map((line) => `  ${line}`).join("\n")}`);
}

/** Argument parsers: @throws InvalidArgumentError, which commander places. */
export function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

export function count(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) === 0) {
    throw new InvalidArgumentError("It must be a whole number above 0.");
  }
  return Number(text);
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

function seconds(text: string): number {
  const value = decimal(text);
  if (value < 0) throw new InvalidArgumentError("It must not be below 0.");
  return value;
}

export function counts(text: string): number[] {
  return text.split(",").map((part) => count(part.trim()));
}

export function words(text: string): string[] {
  return text.split(",").map((word) => word.trim());
}

/** Progress goes to stderr: bars on a terminal, else lines. */
export function display(): Display {
  const { stderr } = process;
  return stderr.isTTY && process.env["TERM"] !== "dumb" ? liveDisplay(stderr) : plainDisplay(stderr);
}

/** The whole of a command's answer: its JSON document, or its text. */
export function answer(options: { readonly json?: boolean }, document: unknown, text: string): void {
  process.stdout.write(options.json ? `${JSON.stringify(document, undefined, 2)}\n` : `${text}\n`);
}

/** The engine to train with, said in one line when it is the slow one. */
export function engineFor({ threads }: Pick<SharedOptions, "threads">, show: Display): Engine {
  const engine = createEngine({ threads });
  if (engine.name === "reference") {
    show.line(
      "note: no native engine here, the slow reference engine serves; npm run build:native builds it",
    );
  }
  return engine;
}

/** Loads a data set with a bar for downloads and decoding. @throws the signal's reason when it is aborted. */
export async function loadShown(source: DataSource, show: Display, signal?: AbortSignal): Promise<Dataset> {
  let tenths = 0;
  const onProgress = (progress: Progress) => {
    if (signal?.aborted) return;
    const { done, total, phase } = progress;
    const fraction = total ? done / total : undefined;
    show.bars([{ label: phase, fraction, text: amounts(progress) }]);
    const reached = Math.floor(10 * (fraction ?? 0));
    if (!show.live && reached > tenths) show.line(`${phase}: ${amounts(progress)}`);
    tenths = reached;
  };
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const loading = loadDataset(source, { onProgress, onNote: (note) => show.line(`note: ${note}`) });
  try {
    return await Promise.race([loading, aborted]);
  } finally {
    show.clear();
  }
}

function amounts({ unit, done, total }: Progress): string {
  const amount = (n: number) => (unit === "bytes" ? `${(n / 1e6).toFixed(1)} MB` : `${grouped(n)} images`);
  return total === undefined ? amount(done) : `${amount(done)} of ${amount(total)}`;
}
