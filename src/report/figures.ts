import type { TopLevelSpec } from "vega-lite";
import type { StudyFile } from "../study/folder.ts";
import type { StudyResults } from "../study/results.ts";
import { CHART } from "./curves.ts";
import { turned } from "./page/verdict.ts";
import type { RunRecord } from "./study-record.ts";
import { INK, QUIET, shapeOf, strokeOf } from "./style.ts";

const frame = (description: string, text: string, subtitle?: string) => ({
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  description,
  title: { text, subtitle: subtitle ?? [], anchor: "start", frame: "bounds", offset: 10 },
  background: "white",
  padding: 16,
  config: CHART,
});

const quantitative = (field: string) => ({ field, type: "quantitative" });

/** Test accuracy against parameters and against multiply-adds; without what depends on the machine. */
export function costs({ study, statistics }: StudyResults, order: readonly string[]): TopLevelSpec {
  const variants = order.filter((name) => statistics[name]?.testAccuracy);
  const values = variants.map((variant) => {
    const { testAccuracy, parameters, multiplyAdds } = statistics[variant];
    const { mean, interval = [mean, mean] } = testAccuracy!;
    return {
      variant,
      mean,
      low: interval[0],
      high: Math.min(1, interval[1]),
      parameters: parameters?.mean,
      multiplyAdds: multiplyAdds?.mean,
    };
  });
  const several = values.some(({ low, high }) => high > low);
  const style = (channel: "color" | "shape") => ({
    field: "variant",
    type: "nominal",
    legend: null,
    scale: {
      domain: variants,
      range: variants.map((_, k) => (channel === "color" ? strokeOf(k).color : shapeOf(k))),
    },
  });
  const y = {
    ...quantitative("mean"),
    scale: { zero: false, padding: 24 },
    axis: { title: "test accuracy", format: ".1%", tickCount: 6 },
  };
  const panel = (field: string, title: string) => ({
    width: 330,
    height: 260,
    encoding: {
      x: {
        ...quantitative(field),
        scale: { zero: false, padding: 46 },
        axis: { title, format: ".3~s", grid: false, tickCount: 5 },
      },
    },
    layer: [
      ...(several
        ? [
            {
              mark: { type: "rule", strokeWidth: 1.4 },
              encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, color: style("color") },
            },
          ]
        : []),
      {
        mark: { type: "point", filled: true, size: 90, opacity: 1 },
        encoding: { y, color: style("color"), shape: style("shape") },
      },
      {
        mark: { type: "text", align: "left", dx: 9, dy: -8, fontSize: 11.5, color: INK },
        encoding: { y, text: { field: "variant" } },
      },
    ],
  });
  return {
    ...frame(
      `test accuracy of ${variants.join(", ")} against their cost`,
      `${study}: accuracy and cost`,
      several ? "mean over seeds, bars: 95 % interval" : undefined,
    ),
    data: { values },
    spacing: 24,
    hconcat: [panel("parameters", "parameters"), panel("multiplyAdds", "multiply-adds an image")],
  } as unknown as TopLevelSpec;
}

/** Every pair of variants: mean difference of test accuracy, its interval over seeds and over test images. */
export function differences({ study, comparisons }: StudyResults): TopLevelSpec {
  const pairs = comparisons.map(turned).sort((a, b) => b.mean - a.mean);
  const values = pairs.map(({ first, second, mean, t, images }) => ({
    pair: `${first} − ${second}`,
    mean: 100 * mean,
    ...(t && { low: 100 * t.interval[0], high: 100 * t.interval[1] }),
    ...(images && { imagesLow: 100 * images.bootstrap[0], imagesHigh: 100 * images.bootstrap[1] }),
  }));
  const seeds = pairs.flatMap(({ first, second, differences }) =>
    differences.map((d) => ({ pair: `${first} − ${second}`, seed: 100 * d })),
  );
  const y = {
    field: "pair",
    type: "nominal",
    sort: null,
    axis: { title: null, domain: false, ticks: false, labelLimit: 260, minExtent: 0, maxExtent: 400 },
  };
  const x = (field: string) => ({
    ...quantitative(field),
    axis: { title: "difference of test accuracy, percentage points", tickCount: 8 },
  });
  return {
    ...frame(
      `differences of test accuracy between variants in study ${study}`,
      `${study}: differences in pairs`,
      "diamond: mean; thick: 95 % interval over seeds; thin: over test images; circles: seeds",
    ),
    width: 560,
    height: { step: 34 },
    data: { values },
    layer: [
      {
        data: { values: [{ zero: 0 }] },
        mark: { type: "rule", color: "#999999", strokeDash: [3, 3] },
        encoding: { x: quantitative("zero") },
      },
      {
        mark: { type: "rule", strokeWidth: 9, color: "#b9cfe2" },
        encoding: { y, x: x("low"), x2: { field: "high" } },
      },
      {
        mark: { type: "rule", strokeWidth: 1.5, color: INK },
        encoding: { y, x: x("imagesLow"), x2: { field: "imagesHigh" } },
      },
      {
        data: { values: seeds },
        mark: { type: "point", size: 36, filled: false, color: QUIET, opacity: 1 },
        encoding: { y, x: x("seed") },
      },
      {
        mark: { type: "point", shape: "diamond", filled: true, size: 130, color: INK, opacity: 1 },
        encoding: { y, x: x("mean") },
      },
    ],
  } as unknown as TopLevelSpec;
}

const MOST_CLASSES = 40;

/** A confusion matrix a variant, seeds together, as shares of the true class; undefined without any, or with classes too many to be read. */
export function confusions(
  runs: readonly RunRecord[],
  { name, data, variants }: StudyFile,
): TopLevelSpec | undefined {
  const { classes } = data;
  const tested = Object.keys(variants).flatMap((variant) => {
    const counts = runs.flatMap(({ file, test }) =>
      file.settings.variant === variant && test ? [test.confusion] : [],
    );
    return counts.length > 0 ? [{ variant, counts }] : [];
  });
  if (tested.length === 0 || classes.length > MOST_CLASSES) return undefined;
  const cell = Math.max(12, Math.min(30, 300 / classes.length));
  const panels = tested.map(({ variant, counts }) => {
    const values = classes.flatMap((truth, i) => {
      const row = classes.map((_, j) => counts.reduce((sum, confusion) => sum + (confusion[i]?.[j] ?? 0), 0));
      const total = row.reduce((a, b) => a + b, 0) || 1;
      return row.map((n, j) => ({ truth, predicted: classes[j], n, share: n / total }));
    });
    const place = (field: string, title: string) => ({
      field,
      type: "nominal",
      sort: [...classes],
      axis: {
        title,
        domain: false,
        ticks: false,
        grid: false,
        labelLimit: 90,
        ...(field === "predicted" ? { labelAngle: -90 } : { minExtent: 0, maxExtent: 200 }),
      },
    });
    return {
      title: { text: variant, anchor: "start", fontSize: 12.5, fontWeight: "normal", color: INK },
      width: { step: cell },
      height: { step: cell },
      data: { values },
      encoding: { x: place("predicted", "predicted"), y: place("truth", "true class") },
      layer: [
        {
          mark: "rect",
          encoding: {
            color: {
              ...quantitative("share"),
              scale: { domain: [0, 1], range: ["#ffffff", "#1f1f1f"] },
              legend: null,
            },
          },
        },
        {
          transform: [{ filter: "datum.n > 0" }],
          mark: { type: "text", fontSize: Math.min(10, cell / 2.6) },
          encoding: {
            text: { field: "n" },
            color: { condition: { test: "datum.share > 0.5", value: "#ffffff" }, value: INK },
          },
        },
      ],
    };
  });
  return {
    ...frame(
      `confusion matrices of ${tested.map(({ variant }) => variant).join(", ")}`,
      `${name}: confusion`,
      "test images, seeds together; shading: share of the true class",
    ),
    spacing: 24,
    columns: 2,
    concat: panels,
  } as unknown as TopLevelSpec;
}
