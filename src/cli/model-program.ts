import type { Graph } from "../compile/graph.ts";
import type { ProgramRecord } from "../compile/lower.ts";
import { type Change, changesBetween, type Stage, stagesOf } from "../compile/stages.ts";
import type { ResNet } from "../models/resnet.ts";
import { Variables } from "../nn/scope.ts";
import { grouped } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { type Shape, showShape, type Tensor } from "../tensor/tensor.ts";
import { evaluationGraph, trainingGraph } from "../train/graphs.ts";
import { createOptimizer } from "../train/optimizers.ts";

export interface ProgramOptions {
  readonly program: "training" | "inference";
  readonly batch: number;
  readonly image: readonly [number, number];
  /** Whether to list whole programs too. */
  readonly records?: boolean;
}

interface Shown extends Stage {
  /** Against the stage before; none at the first. */
  readonly changes: readonly Change[];
}

/** What the native engine would run for a model, before and after each compile pass: as JSON and as text. */
export function describeProgram(
  model: ResNet,
  options: ProgramOptions,
): { readonly document: object; readonly text: string } {
  const { program, batch, image, records } = options;
  const variables = new Variables(1);
  const stages = stagesOf(graphOf(model, variables, options), variables.all()).map(
    (stage, k, all): Shown => ({
      ...stage,
      changes: k === 0 ? [] : changesBetween(all[k - 1].program, stage.program),
    }),
  );
  const whole = records ? [stages[0], stages[stages.length - 1]] : [];
  const document = {
    program,
    batch,
    image,
    stages: stages.map((stage) => documentOf(stage, whole.includes(stage))),
  };
  const title = `One ${program === "training" ? "training step" : "batch of inference"}: ${batch} images of ${image.join("×")}`;
  const text = [
    `${title}; each record is one call of a kernel.`,
    textTable(stageColumns, [...stages.entries()]),
    textTable(kernelColumns(stages), kernelsOf(stages)),
    ...stages.slice(1).map((stage, k) => changesText(stage, k + 1)),
    ...whole.map(({ name, program: { records: all } }) =>
      recordsText(`All records ${name === stages[0].name ? name : `after ${name}`}`, all),
    ),
  ].join("\n\n");
  return { document, text };
}

function graphOf(model: ResNet, variables: Variables, { program, batch, image }: ProgramOptions): Graph {
  if (program === "inference") return evaluationGraph(model, variables, { batch, image });
  const optimizer = createOptimizer({ name: "sgd", lr: 0.1, momentum: 0.9 });
  return trainingGraph(model, variables, optimizer, { batch, image });
}

const count = (changes: readonly Change[], kind: Change["kind"]) =>
  changes.filter((change) => change.kind === kind).length;
const scratchBytes = ({ program }: Stage) => 4 * program.scratchFloats;
const blank = (n: number) => (n === 0 ? "" : grouped(n));

const stageColumns: Column<[number, Shown]>[] = [
  { title: "stage", cell: ([k, { name }]) => `${k} ${name}` },
  { title: "records", align: "right", cell: ([, { program }]) => grouped(program.records.length) },
  { title: "gone", align: "right", cell: ([, { changes }]) => blank(count(changes, "gone")) },
  { title: "new", align: "right", cell: ([, { changes }]) => blank(count(changes, "new")) },
  { title: "scratch MiB", align: "right", cell: ([, stage]) => (scratchBytes(stage) / 2 ** 20).toFixed(1) },
];

interface KernelRow {
  readonly kernel: string;
  /** At each stage. */
  readonly counts: readonly number[];
}

function kernelsOf(stages: readonly Stage[]): KernelRow[] {
  const perStage = stages.map(kernelCounts);
  const kernels = new Set(perStage.flatMap((counts) => Object.keys(counts)));
  return [...kernels]
    .sort()
    .map((kernel) => ({ kernel, counts: perStage.map((counts) => counts[kernel] ?? 0) }));
}

function kernelCounts({ program }: Stage): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kernel } of program.records) counts[kernel] = (counts[kernel] ?? 0) + 1;
  return counts;
}

const kernelColumns = (stages: readonly Stage[]): Column<KernelRow>[] => [
  { title: "records by kernel, at stage", cell: ({ kernel }) => kernel },
  ...stages.map(
    (_, k): Column<KernelRow> => ({
      title: String(k),
      align: "right",
      cell: ({ counts }) => (counts[k] === 0 ? "·" : grouped(counts[k])),
    }),
  ),
];

function changesText({ name, summary, changes }: Shown, k: number): string {
  const head = wrapped("", `Stage ${k}, ${name}: ${summary}`, 2);
  const lines = changes.map(({ kind, index, record }) => ({
    sign: kind === "gone" ? "−" : "+",
    index,
    record,
  }));
  return [head, ...(lines.length > 0 ? listed(lines) : ["  nothing to do here"])].join("\n");
}

function recordsText(title: string, records: readonly ProgramRecord[]): string {
  return [
    title,
    ...listed([...records.entries()].map(([index, record]) => ({ sign: "", index, record }))),
  ].join("\n");
}

interface Line {
  readonly sign: string;
  readonly index: number;
  readonly record: ProgramRecord;
}

/** A line a record under the name of its layer, and one more for what was fused into it. */
function listed(lines: readonly Line[]): string[] {
  const digits = Math.max(...lines.map(({ index }) => String(index).length));
  const signs = Math.max(...lines.map(({ sign }) => sign.length));
  const width = Math.max(...lines.map(({ record }) => record.kernel.length));
  return lines.flatMap(({ sign, index, record: { kernel, label, parts, reads, writes } }, k) => {
    const start = `  ${sign.padEnd(signs)} ${String(index).padStart(digits)} `;
    return [
      ...(k === 0 || label !== lines[k - 1].record.label ? [`  ${label || "of no layer"}`] : []),
      wrapped(`${start} ${kernel.padEnd(width)}  `, `${showShapes(reads)} → ${showShapes(writes)}`.trim()),
      ...(parts.length > 0 ? [wrapped(" ".repeat(start.length + 1), parts.join(", "))] : []),
    ];
  });
}

const COLUMNS = 100;

/** A start and words after it, on as many lines as they need, each further one indented. */
function wrapped(start: string, words: string, indent = start.length): string {
  const lines: string[] = [];
  let line = start;
  for (const [k, word] of words.split(" ").entries()) {
    if (k > 0 && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = " ".repeat(indent) + word;
    } else line += k === 0 ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}

/** Equal neighbours once: [64]×4. */
function showShapes(tensors: readonly Tensor[]): string {
  const runs: { readonly shape: string; times: number }[] = [];
  for (const shape of tensors.map((x) => showShape(x.shape))) {
    const last = runs[runs.length - 1];
    if (last?.shape === shape) last.times++;
    else runs.push({ shape, times: 1 });
  }
  return runs.map(({ shape, times }) => (times === 1 ? shape : `${shape}×${times}`)).join(" ");
}

function documentOf(stage: Shown, whole: boolean): object {
  const { name, summary, program, changes } = stage;
  return {
    name,
    summary,
    records: program.records.length,
    kernels: kernelCounts(stage),
    scratchBytes: scratchBytes(stage),
    changes: changes.map(({ kind, index, record }) => ({ kind, index, ...recordDocument(record) })),
    ...(whole && { program: program.records.map(recordDocument) }),
  };
}

const recordDocument = ({ kernel, label, parts, reads, writes, multiplyAdds }: ProgramRecord) => ({
  kernel,
  layer: label,
  ...(parts.length > 0 && { parts }),
  reads: shapesOf(reads),
  writes: shapesOf(writes),
  ...(multiplyAdds > 0 && { multiplyAdds }),
});

const shapesOf = (tensors: readonly Tensor[]): Shape[] => tensors.map(({ shape }) => shape);
