import type { TopLevelSpec } from "vega-lite";
import type { EpochRecord, RunSettings } from "../train/types.ts";
import { spreadLabels } from "./labels.ts";
import { FONT, GRID, INK, QUIET, type Stroke, shapeOf, strokeOf } from "./style.ts";

export type Metric = "accuracy" | "loss";

const PANEL_WIDTH = 330;
const PANEL_HEIGHT = 280;
/** Room between the last epoch and a variant's name, in pixels. */
const LEADER = 26;
const LABEL_HEIGHT = 15;
const MARKED_EPOCHS = 15;

/** Every epoch has its mark where there are few, else some fifteen. */
const isMarked = (epoch: number, epochs: number) => epoch % Math.ceil(epochs / MARKED_EPOCHS) === 0;

interface Panel {
  readonly title: string;
  readonly field: (record: EpochRecord) => number | undefined;
}

const PANELS: Readonly<Record<Metric, readonly Panel[]>> = {
  accuracy: [
    { title: "Training", field: (record) => record.trainAccuracy },
    { title: "Validation", field: (record) => record.validationAccuracy },
  ],
  loss: [
    { title: "Training", field: (record) => record.trainLoss },
    { title: "Validation", field: (record) => record.validationLoss },
  ],
};

/** A run, finished or not. */
interface Trained {
  readonly settings: RunSettings;
  readonly epochs: readonly EpochRecord[];
}

interface Point {
  readonly variant: string;
  readonly epoch: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Accuracy or loss an epoch of all variants, training beside validation; mean over the seeds, in a band from
 * the lowest to the highest when there are several.
 */
export function curves(metric: Metric, runs: readonly Trained[], study: string): TopLevelSpec {
  const variants = [...new Set(runs.map(({ settings }) => settings.variant))];
  const panels = PANELS[metric]
    .map(({ title, field }) => ({ title, points: variants.flatMap((name) => pointsOf(name, runs, field)) }))
    .filter(({ points }) => points.length > 0);
  const all = panels.flatMap(({ points }) => points);
  const range: Range = {
    epochs: Math.max(1, ...all.map(({ epoch }) => epoch)),
    ...(metric === "accuracy" ? accuracyRange(all) : lossRange(all)),
  };
  const strokes = variants.map((_, index) => strokeOf(index));
  const seeds = new Set(runs.map(({ settings }) => settings.seed)).size;
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: `${metric} an epoch of ${variants.join(", ")} in study ${study}`,
    title: {
      text: `${study}: ${metric}`,
      subtitle: seeds > 1 ? `mean of ${seeds} seeds, band from the lowest to the highest` : [],
      anchor: "start",
      frame: "bounds",
      offset: 10,
    },
    background: "white",
    padding: 16,
    spacing: 16,
    hconcat: panels.map(({ title, points }, k) =>
      panel(title, points, { metric, variants, strokes, range, first: k === 0 }),
    ),
    config: CHART,
  } as TopLevelSpec;
}

function pointsOf(variant: string, runs: readonly Trained[], field: Panel["field"]): Point[] {
  const records = runs.filter(({ settings }) => settings.variant === variant).flatMap(({ epochs }) => epochs);
  const epochs = [...new Set(records.map(({ epoch }) => epoch))].sort((a, b) => a - b);
  return epochs.flatMap((epoch) => {
    const values = records.filter((r) => r.epoch === epoch).flatMap((r) => field(r) ?? []);
    const finite = values.filter(Number.isFinite);
    if (finite.length === 0) return [];
    const value = finite.reduce((sum, x) => sum + x, 0) / finite.length;
    return [{ variant, epoch, value, low: Math.min(...finite), high: Math.max(...finite) }];
  });
}

interface Range {
  readonly epochs: number;
  readonly values: readonly [number, number];
  /** Equal ratios take equal room. */
  readonly log: boolean;
}

/** Down to the lowest value in steps of a tenth: the upper end, where variants differ, keeps its room. */
function accuracyRange(points: readonly Point[]): Omit<Range, "epochs"> {
  const low = Math.min(...points.map((point) => point.low));
  return { values: [Math.max(0, Math.floor(low * 10) / 10), 1], log: false };
}

const LARGE_RATIO = 15;

/** All but the first epochs' outliers; logarithmic where the end of training would lie flat on the axis. */
function lossRange(points: readonly Point[]): Omit<Range, "epochs"> {
  const sorted = points.map(({ high }) => high).sort((a, b) => a - b);
  const usual = sorted[Math.floor(0.9 * (sorted.length - 1))];
  const high = Math.min(sorted[sorted.length - 1], 2 * usual);
  const low = Math.min(...points.map((point) => point.low));
  if (low > 0 && high / low > LARGE_RATIO) return { values: [low / 1.1, 1.1 * high], log: true };
  return { values: [0, high > 0 ? 1.05 * high : 1], log: false };
}

interface Frame {
  readonly metric: Metric;
  readonly variants: readonly string[];
  readonly strokes: readonly Stroke[];
  readonly range: Range;
  readonly first: boolean;
}

function panel(title: string, points: readonly Point[], { metric, variants, strokes, range, first }: Frame) {
  const { epochs, values, log } = range;
  const [along, back] = log ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const clamp = (value: number) => Math.min(values[1], Math.max(values[0], value));
  const last = variants.flatMap((name) => points.findLast(({ variant }) => variant === name) ?? []);
  const [low, high] = values.map(along);
  const height = ((high - low) * LABEL_HEIGHT) / PANEL_HEIGHT;
  const places = spreadLabels(
    last.map(({ value }) => along(clamp(value))),
    height,
    [low, high],
  ).map(back);
  const labels = last.map(({ variant, epoch, value }, k) => ({
    variant,
    epoch,
    value: clamp(value),
    at: places[k],
  }));
  // A single epoch stands at the right end, where its labels are.
  const start = epochs === 1 ? 0 : 1;
  const edge = epochs + ((epochs - start) * LEADER) / PANEL_WIDTH;
  const leaders = (until: (epoch: number) => boolean) =>
    labels
      .filter(({ epoch }) => until(epoch))
      .flatMap(({ variant, epoch, value, at }) => [
        { variant, epoch, value },
        { variant, epoch: edge, value: at },
      ]);
  const stopped = leaders((epoch) => epoch < epochs);
  const x = { field: "epoch", type: "quantitative" };
  const y = { field: "value", type: "quantitative" };
  const styled = {
    color: {
      field: "variant",
      type: "nominal",
      scale: { domain: variants, range: strokes.map((s) => s.color) },
      legend: null,
    },
    strokeDash: {
      field: "variant",
      type: "nominal",
      scale: { domain: variants, range: strokes.map((s) => s.dash) },
      legend: null,
    },
    shape: {
      field: "variant",
      type: "nominal",
      scale: { domain: variants, range: variants.map((_, k) => shapeOf(k)) },
      legend: null,
    },
  };
  const lined = { color: styled.color, strokeDash: styled.strokeDash };
  const band = points.some(({ low, high }) => high > low);
  return {
    title: {
      text: title,
      anchor: "start",
      frame: "group",
      fontSize: 12.5,
      fontWeight: "normal",
      color: INK,
      offset: 10,
    },
    width: PANEL_WIDTH,
    height: PANEL_HEIGHT,
    data: { values: points },
    encoding: {
      x: {
        ...x,
        scale: { domain: [start, epochs], nice: false, zero: false },
        axis: { title: "epoch", tickMinStep: 1, format: "d", grid: false, labelFlush: false },
      },
      y: {
        ...y,
        // a logarithmic axis has no zero to leave out
        scale: { type: log ? "log" : "linear", domain: values, nice: false, ...(!log && { zero: false }) },
        axis: {
          title: first ? `${AXIS_TITLES[metric]}${log ? ", log scale" : ""}` : null,
          format: metric === "accuracy" ? ".0%" : "~g",
          ...(log ? { values: logTicks(values) } : { tickCount: 6 }),
        },
      },
    },
    layer: [
      ...(band
        ? [
            {
              mark: { type: "area", opacity: 0.15, clip: true, line: false },
              encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, color: styled.color },
            },
          ]
        : []),
      { mark: { type: "line", strokeWidth: 2, clip: true, interpolate: "linear" }, encoding: lined },
      {
        data: {
          values: points.filter(({ value, epoch }) => value === clamp(value) && isMarked(epoch, epochs)),
        },
        mark: { type: "point", filled: true, size: 34, opacity: 1 },
        encoding: { color: styled.color, shape: styled.shape },
      },
      {
        data: { values: leaders((epoch) => epoch === epochs) },
        mark: { type: "line", strokeWidth: 1.5, opacity: 0.8 },
        encoding: lined,
      },
      {
        data: { values: stopped },
        mark: { type: "line", strokeWidth: 0.8, color: "#aaaaaa" },
        encoding: { detail: { field: "variant" } },
      },
      {
        data: { values: labels.map(({ variant, at }) => ({ variant, epoch: edge, value: at })) },
        mark: { type: "text", align: "left", baseline: "middle", dx: 4, fontSize: 11.5, color: INK },
        encoding: { text: { field: "variant" } },
      },
    ],
  };
}

/** 1, 2 and 5 times powers of ten. */
function logTicks([low, high]: readonly [number, number]): number[] {
  const powers = Array.from({ length: 40 }, (_, k) => k - 20);
  const ticks = powers.flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

/** Without a canvas vega takes a letter for 0.8 of its size: titles longer than the axis would move the panels. */
const AXIS_TITLES: Readonly<Record<Metric, string>> = { accuracy: "accuracy", loss: "cross-entropy" };

export const CHART = {
  font: FONT,
  view: { stroke: null },
  title: {
    fontSize: 16,
    fontWeight: "bold",
    color: INK,
    subtitleColor: QUIET,
    subtitleFontSize: 11.5,
    subtitlePadding: 5,
  },
  axis: {
    labelColor: INK,
    labelFontSize: 11,
    titleColor: INK,
    titleFontSize: 12,
    titleFontWeight: "normal",
    gridColor: GRID,
    domainColor: "#999999",
    tickColor: "#999999",
    labelPadding: 5,
    titlePadding: 10,
  },
  axisY: { domain: false, ticks: false, minExtent: 40, maxExtent: 40 },
};
