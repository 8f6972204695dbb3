import type { Engine } from "../engine/engine.ts";
import { counted, duration, grouped, rate, scaled } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { measurePace, type Pace } from "../study/measure.ts";
import { knownOutline } from "../study/outline.ts";
import { expectedMs, type PlannedVariant, planStudy } from "../study/plan.ts";
import { type DataOutline, validationOf } from "../study/settings.ts";
import type { Study } from "../study/study.ts";
import { answer, loadShown, type SharedOptions } from "./common.ts";
import type { Display } from "./display.ts";
import { interruptible } from "./interrupt.ts";

interface Estimate extends PlannedVariant {
  /** Absent when the engine is too slow to be timed. */
  readonly pace?: Pace;
  readonly expectedMs?: number;
}

/** Says what a study would train and how long that would take here, by timing a few real steps. */
export async function dryRun(
  study: Study,
  engine: Engine,
  options: SharedOptions,
  show: Display,
): Promise<void> {
  const { outline, estimates } = await interruptible(show, async (signal) => {
    const outline = knownOutline(study.data.source) ?? (await loadShown(study.data.source, show, signal));
    const plans = planStudy(study, outline);
    const estimates: Estimate[] = [];
    for (const [k, plan] of plans.entries()) {
      signal.throwIfAborted();
      const text = `${plan.variant}: a few steps (${k + 1} of ${plans.length})`;
      if (!show.live) show.line(`timing ${text}`);
      show.bars([{ label: "timing", fraction: k / plans.length, text }]);
      estimates.push(await estimate(plan, engine, outline));
    }
    return { outline, estimates };
  });
  show.clear();
  const seeds = study.seeds.length;
  const total = estimates.every(({ expectedMs }) => expectedMs !== undefined)
    ? seeds * estimates.reduce((sum, { expectedMs }) => sum + (expectedMs ?? 0), 0)
    : undefined;
  const document = {
    study: study.name,
    data: {
      source: study.data.source,
      ...shapeOf(outline),
      validation: validationOf(study.data, outline),
      normalize: study.data.normalize,
    },
    seeds: study.seeds,
    engine: engine.description,
    variants: estimates.map((row) => ({ ...row, total: row.parameters + row.statistics })),
    runs: seeds * estimates.length,
    expectedMs: total,
  };
  answer(options, document, describe(study, outline, estimates, engine, total));
}

/** The reference engine does some 100 million multiply-adds a second: beyond this a step takes minutes. */
const REFERENCE_LIMIT = 500e6;

async function estimate(
  plan: PlannedVariant,
  engine: Engine,
  { height, width }: DataOutline,
): Promise<Estimate> {
  if (engine.name === "reference" && plan.multiplyAdds > REFERENCE_LIMIT) return plan;
  const pace = await measurePace(engine, plan.model, plan.train, [height, width]);
  return { ...plan, pace, expectedMs: expectedMs(plan, pace) };
}

const shapeOf = ({ name, classes, height, width, train, test }: DataOutline) => ({
  name,
  classes: classes.length,
  image: [height, width],
  train: train.count,
  test: test.count,
});

function describe(
  study: Study,
  outline: DataOutline,
  estimates: readonly Estimate[],
  engine: Engine,
  total: number | undefined,
): string {
  const { trainImages, validationImages, testImages } = estimates[0];
  const judged =
    study.data.validation === "test"
      ? `validation and test ${grouped(testImages)} (the same images)`
      : `validation ${grouped(validationImages)}, test ${grouped(testImages)}`;
  const lines = [
    `study ${study.name}: ${counted(estimates.length, "variant")} × ${counted(study.seeds.length, "seed")} ` +
      `(${study.seeds.join(", ")})`,
    `data ${outline.name}: ${outline.height}×${outline.width}, ${outline.classes.length} classes, training ` +
      `${grouped(trainImages)}, ${judged}, normalised by ${study.data.normalize === "scalar" ? "one scalar" : "channel"}`,
    "",
    textTable(COLUMNS, estimates),
    "",
    ...gathered(estimates, trainText),
    ...gathered(estimates, attentionText),
    "",
    `expected on this machine: ${total === undefined ? "not measured, the reference engine is too slow for it" : duration(total)}` +
      ` with the ${engine.description}${pacesText(estimates)}`,
  ];
  return lines.join("\n");
}

const right = (title: string, cell: (row: Estimate) => string): Column<Estimate> => ({
  title,
  align: "right",
  cell,
});

const COLUMNS: readonly Column<Estimate>[] = [
  { title: "variant", cell: ({ variant }) => variant },
  { title: "attention", cell: ({ model }) => model.attention.name },
  right("trainable", ({ parameters }) => grouped(parameters)),
  right("statistics", ({ statistics }) => grouped(statistics)),
  right("total", ({ parameters, statistics }) => grouped(parameters + statistics)),
  right("multiply-adds", ({ multiplyAdds }) => scaled(multiplyAdds)),
  right("batch", ({ train }) => String(train.batch)),
  right("epochs", ({ train }) => String(train.epochs)),
  right("steps", ({ train, stepsPerEpoch }) => grouped(train.epochs * stepsPerEpoch)),
  right("images/s", ({ pace }) => (pace ? rate(1000 / pace.trainMsPerImage) : "–")),
  right("time a seed", ({ expectedMs }) => (expectedMs === undefined ? "–" : duration(expectedMs))),
];

/** A line for all variants of which the same is to be said: `plain, se: …`. */
function gathered(rows: readonly Estimate[], say: (row: Estimate) => string | undefined): string[] {
  const variants = new Map<string, string[]>();
  for (const row of rows) {
    const text = say(row);
    if (text !== undefined) variants.set(text, [...(variants.get(text) ?? []), row.variant]);
  }
  return [...variants].map(([text, names]) => `${names.join(", ")}: ${text}`);
}

function trainText({ train: { optimizer, schedule, augment, warmup, labelSmoothing } }: Estimate): string {
  return [
    `optimizer ${named(optimizer)}`,
    `schedule ${named(schedule)}`,
    ...(warmup === 0 ? [] : [`warm-up ${JSON.stringify(warmup)}`]),
    `augmentation ${Object.keys(augment).join(", ") || "none"}`,
    ...(labelSmoothing > 0 ? [`label smoothing ${labelSmoothing}`] : []),
  ].join("; ");
}

function attentionText({ model: { attention, placement } }: Estimate): string | undefined {
  if (attention.name === "none") return undefined;
  return `attention ${named({ name: attention.name, ...attention.options })}, in ${placement} blocks`;
}

/** `sgd, lr 0.1, momentum 0.9`. */
function named({ name, ...options }: { readonly name: string }): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return [
    name,
    ...entries.map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`),
  ].join(", ");
}

function pacesText(estimates: readonly Estimate[]): string {
  const batches = [...new Set(estimates.flatMap(({ pace }) => pace?.batch ?? []))];
  return batches.length > 0 ? `, by steps of ${batches.join(" and ")} images` : "";
}
