import { z } from "zod";
import { makeFolder, writeDurably } from "../files/durable.ts";
import { parseAs, parseJson } from "../files/json.ts";
import { resnetSchema } from "../models/schema.ts";
import { UserError } from "../tensor/errors.ts";
import { epochRecordSchema, epochTimingSchema } from "./metrics.ts";
import { trainSchema } from "./options.ts";
import { fingerprintedSchema, readText, runDataSchema, runPaths } from "./run-data.ts";
import { spansEpochs } from "./schedules.ts";
import type { EpochRecord, EpochTiming, Evaluation, RunFigures, RunFile, RunSettings } from "./types.ts";

const count = z.int().min(0);

const figuresSchema: z.ZodType<RunFigures> = z.object({
  trainAccuracy: z.number(),
  trainLoss: z.number(),
  validationAccuracy: z.number().optional(),
  validationLoss: z.number().optional(),
  testAccuracy: z.number(),
  testLoss: z.number(),
  parameters: count,
  statistics: count,
  multiplyAdds: count,
  imagesPerSecond: z.number(),
  elapsedMs: z.number(),
  epochs: count,
});

const runFileSchema: z.ZodType<RunFile> = z.object({
  atento: z.string(),
  settings: z.object({
    variant: z.string(),
    seed: count,
    model: resnetSchema,
    data: runDataSchema,
    train: trainSchema,
    pretrained: fingerprintedSchema.optional(),
  }),
  environment: z.record(z.string(), z.union([z.string(), z.number()])),
  status: z.enum(["running", "interrupted", "done", "failed"]),
  startedAt: z.string(),
  figures: figuresSchema.optional(),
});

const evaluationSchema: z.ZodType<Evaluation> = z.object({
  count,
  loss: z.number(),
  accuracy: z.number(),
  perClass: z.array(z.object({ name: z.string(), count, accuracy: z.number() })),
  confusion: z.array(z.array(count)),
  predictions: z.array(count),
  labels: z.array(count).optional(),
});

/** run.json of a folder; undefined when there is none. @throws UserError when it is not one of ours. */
export async function readRunFile(folder: string): Promise<RunFile | undefined> {
  const { run } = runPaths(folder);
  const text = await readText(run);
  if (text === undefined) return undefined;
  return parseAs(
    runFileSchema,
    text,
    (problem) =>
      new UserError(
        `${run}: is no record of a run (${problem}): choose another folder with --out, or remove this one`,
      ),
  );
}

export async function writeRunFile(folder: string, file: RunFile): Promise<void> {
  await makeFolder(folder);
  await writeDurably(runPaths(folder).run, `${JSON.stringify(file, undefined, 2)}\n`);
}

const lines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join("");

export async function writeMetrics(
  folder: string,
  records: readonly EpochRecord[],
  timings: readonly EpochTiming[],
): Promise<void> {
  await writeDurably(runPaths(folder).timings, lines(timings));
  await writeDurably(runPaths(folder).metrics, lines(records));
}

/** Records of the finished epochs; none when there is no file. @throws UserError with the line that is none. */
export async function readMetrics(folder: string): Promise<EpochRecord[]> {
  const { metrics } = runPaths(folder);
  const found = ((await readText(metrics)) ?? "").split("\n").filter((line) => line !== "");
  return found.map((line, index) => {
    const parsed = epochRecordSchema.safeParse(parseJson(line));
    if (parsed.success) return parsed.data;
    throw new UserError(
      `${metrics}:${index + 1}: is no record of an epoch: the command that trained the run writes the file anew`,
    );
  });
}

/** What the clock said of the finished epochs; none where there is no file, or none that can be read. */
export async function readTimings(folder: string): Promise<EpochTiming[]> {
  const found = ((await readText(runPaths(folder).timings)) ?? "").split("\n").filter((line) => line !== "");
  const parsed = z.array(epochTimingSchema).safeParse(found.map(parseJson));
  return parsed.success ? parsed.data : [];
}

export async function writeTest(folder: string, test: Evaluation): Promise<void> {
  await writeDurably(runPaths(folder).test, `${JSON.stringify(test)}\n`);
}

/** The final evaluation on the test set; undefined when there is none that can be read. */
export async function readTest(folder: string): Promise<Evaluation | undefined> {
  const parsed = evaluationSchema.safeParse(parseJson((await readText(runPaths(folder).test)) ?? ""));
  return parsed.success ? parsed.data : undefined;
}

/** @throws UserError listing how the run in the folder differs from the one asked for. */
export function refuseOtherRun(folder: string, known: RunSettings, asked: RunSettings): void {
  const found = differences(known, asked);
  if (found.length === 0) return;
  const shown = found
    .slice(0, 10)
    .map(
      (difference) =>
        `${difference.path} is ${difference.was} there, ${difference.is} asked for${reason(difference)}`,
    );
  const more = found.length > 10 ? `; and ${found.length - 10} more` : "";
  throw new UserError(
    `${folder}: holds another run: ${shown.join("; ")}${more}: choose another --out, or remove the folder`,
  );
}

export interface Difference {
  /** Such as `train.optimizer.lr`. */
  readonly path: string;
  readonly was: string;
  readonly is: string;
  /** Why it matters, where that is not plain. */
  readonly why?: string;
}

/** Why a difference matters, to be put behind it; empty where that is plain. */
export const reason = ({ why }: Difference): string => (why === undefined ? "" : ` (${why})`);

/**
 * What makes two runs compute different things. Where the same data or weights lie does not, nor do more epochs under
 * a schedule whose rates do not depend on their number.
 */
export function differences(known: RunSettings, asked: RunSettings): Difference[] {
  const { epochs, schedule } = asked.train;
  const spans = spansEpochs(schedule);
  const mayGrow = !spans && epochs > known.train.epochs;
  const why = `the rates of schedule ${schedule.name} depend on the number of epochs`;
  return compare("", plain(known), plain(asked))
    .filter(
      ({ path }) =>
        !/^(data\.(source|name)|pretrained\.file)(\.|$)/.test(path) && !(path === "train.epochs" && mayGrow),
    )
    .map((difference) => (difference.path === "train.epochs" && spans ? { ...difference, why } : difference));
}

/** As JSON has it. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function compare(path: string, was: unknown, is: unknown): Difference[] {
  if (isTable(was) && isTable(is)) {
    const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])];
    return keys.flatMap((key) => compare(path ? `${path}.${key}` : key, was[key], is[key]));
  }
  const same = JSON.stringify(was) === JSON.stringify(is);
  return same ? [] : [{ path, was: show(was), is: show(is) }];
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "not set";
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
