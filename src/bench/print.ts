import { counted, grouped, rate } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { figures, type Ratio, type Row } from "./compare.ts";
import type { Measurement, RecordTime } from "./measure.ts";
import type { Result } from "./turns.ts";

type Line = Readonly<Record<"name" | keyof typeof figures, string>>;

const columns: Column<Line>[] = [
  { title: "", cell: ({ name }) => name },
  { title: "train images/s", align: "right", cell: ({ train }) => train },
  { title: "infer images/s", align: "right", cell: ({ infer }) => infer },
  { title: "memory MiB", align: "right", cell: ({ memory }) => memory },
];

/** One row as one object: our first program's figures at the top, all else beside them. */
export const documentOf = (
  { settings, ours: [first, ...variants], others }: Row,
  ratios: readonly Ratio[],
) => ({
  ...settings,
  ...first.median,
  ...(variants.length > 0 && { variants: variants.map(withoutRounds) }),
  ...(others.length > 0 && { opponents: others.map(withoutRounds) }),
  ...(ratios.length > 0 && { ratios }),
});

const withoutRounds = ({ rounds: _, ...result }: Result) => result;

/** A table of programs and ratios, then what did not fit into it. */
export function textOf({ settings, ours, others }: Row, ratios: readonly Ratio[]): string {
  const { stem, attention, batch, threads } = settings;
  const lines = [
    ...[...ours, ...others].map(measuredLine),
    ...ratios.map(({ over, ...ratio }) => line(`${ours[0].name} over ${over}`, ratio, times)),
  ];
  return [
    `stem ${stem}, attention ${attention}, batch ${batch}, ${counted(threads, "thread")}`,
    textTable(columns, lines),
    ...ours.flatMap(({ name, median }) => (median ? [peakLine(name, median)] : [])),
    ...remarksOf(others),
    ...versionsOf(others),
    ...ours.flatMap(({ name, median }) => {
      if (!median?.profile || !median.trainImagesPerSecond) return [];
      return ["", describeProfile(name, median.profile, (1000 * batch) / median.trainImagesPerSecond)];
    }),
  ].join("\n");
}

function measuredLine({ name, median }: Result): Line {
  if (!median) return { name, train: "failed", infer: "–", memory: "–" };
  const { train, infer, memory } = figures;
  return {
    ...line(name, { train: train.of(median), infer: infer.of(median) }, speed),
    memory: memory.of(median)?.toFixed(0) ?? "–",
  };
}

function line(name: string, values: Omit<Ratio, "over">, show: (n: number) => string): Line {
  const cell = (n: number | undefined) => (n === undefined ? "–" : show(n));
  return { name, train: cell(values.train), infer: cell(values.infer), memory: cell(values.memory) };
}

const speed = (n: number) => (n < 1 ? n.toPrecision(2) : rate(n));
const times = (n: number) => (n < 100 ? n.toFixed(2) : grouped(Math.round(n)));

const peakLine = (name: string, { gflops = 0, peakGflops = 0, shareOfPeak = 0 }: Measurement) =>
  `${name}: training at ${gflops.toFixed(0)} GFLOP/s, ${(100 * shareOfPeak).toFixed(0)} % of the ${peakGflops.toFixed(0)} measured on registers alone`;

/** What they said instead of figures, once for all that said the same. */
function remarksOf(others: readonly Result[]): string[] {
  const names = new Map<string, string[]>();
  for (const { name, failure, median } of others) {
    const said = failure ?? median?.note;
    if (said !== undefined) names.set(said, [...(names.get(said) ?? []), name]);
  }
  return [...names].map(([said, of]) => [`${of.join("; ")}:`, ...said.split("\n")].join("\n  "));
}

function versionsOf(others: readonly Result[]): string[] {
  const versions = new Set(others.flatMap(({ median }) => median?.version ?? []));
  return versions.size > 0 ? [`with ${[...versions].join(", ")}`] : [];
}

interface Total {
  readonly name: string;
  readonly records: readonly RecordTime[];
}

/** Time by kernel, then the slowest records. */
function describeProfile(name: string, profile: readonly RecordTime[], stepMs: number): string {
  const kernels = new Map<string, RecordTime[]>();
  for (const record of profile) kernels.set(record.kernel, [...(kernels.get(record.kernel) ?? []), record]);
  const slowest = [...profile].sort((a, b) => b.ms - a.ms).slice(0, 30);
  return [
    `${name}: a step takes ${stepMs.toFixed(1)} ms; the records explain ${percentOf(msOf(profile), stepMs)} %`,
    "",
    table(
      [...kernels].map(([kernel, records]) => ({ name: kernel, records })),
      stepMs,
    ),
    "",
    table(
      slowest.map((record) => ({ name: `${record.kernel} ${record.label}`, records: [record] })),
      stepMs,
    ),
  ].join("\n");
}

function table(totals: readonly Total[], stepMs: number): string {
  const perSecond = (key: "gflops" | "gigabytesPerSecond") => (records: readonly RecordTime[]) =>
    records.reduce((sum, record) => sum + record[key] * record.ms, 0) / msOf(records);
  const figure = (title: string, value: (records: readonly RecordTime[]) => string): Column<Total> => ({
    title,
    align: "right",
    cell: ({ records }) => value(records),
  });
  const columns: Column<Total>[] = [
    { title: "kernel", cell: ({ name }) => name },
    figure("n", (records) => String(records.length)),
    figure("ms", (records) => msOf(records).toFixed(2)),
    figure("% step", (records) => percentOf(msOf(records), stepMs)),
    figure("GFLOP/s", (records) => perSecond("gflops")(records).toFixed(1)),
    figure("GB/s", (records) => perSecond("gigabytesPerSecond")(records).toFixed(1)),
  ];
  return textTable(
    columns,
    [...totals].sort((a, b) => msOf(b.records) - msOf(a.records)),
  );
}

const msOf = (records: readonly RecordTime[]) => records.reduce((sum, { ms }) => sum + ms, 0);
const percentOf = (part: number, whole: number) => ((100 * part) / whole).toFixed(1);
