import { isTable } from "../study/merge.ts";
import { version } from "../train/environment.ts";
import type { EpochRecord } from "../train/types.ts";
import { heatmapsOf } from "./heatmaps.ts";
import type { EnvironmentPage, PageData, RunPage, StudyPage, VariantPage } from "./page/data.ts";
import type { Language } from "./page/texts/index.ts";
import type { RunRecord, StudyRecord } from "./study-record.ts";
import { darkOf, strokeOf } from "./style.ts";

/** Gathers what the page shows of some studies. @throws UserError as heatmapsOf. */
export async function pageData(studies: readonly StudyRecord[], language: Language): Promise<PageData> {
  const pages: StudyPage[] = [];
  for (const study of studies) pages.push(await studyPage(study));
  return { language, atento: version, written: new Date().toISOString(), studies: pages };
}

async function studyPage({ folder, file, runs, results }: StudyRecord): Promise<StudyPage> {
  const { name, data, variants } = file;
  const seeds = [...new Set([...file.seeds, ...runs.map(({ file }) => file.settings.seed)])].sort(
    (a, b) => a - b,
  );
  return {
    name,
    data,
    seeds,
    variants: Object.entries(variants).map(([variant, { model, train }], k): VariantPage => {
      const { color, dash } = strokeOf(k);
      return {
        name: variant,
        stroke: { light: color, dark: darkOf(k), dash },
        statistics: results?.statistics[variant],
        recipe: [...flat("model", model), ...flat("train", train)],
      };
    }),
    runs: runs.map((run) => runPage(run, data.classes.length)),
    comparisons: results?.comparisons ?? [],
    disagreements: disagreementsOf(Object.keys(variants), runs),
    command: file.command ?? `npx atento study ${name}`,
    settings: JSON.stringify(file, undefined, 2),
    environments: environmentsOf(runs),
    heatmaps: await heatmapsOf(folder, runs, data.classes.length),
  };
}

function runPage({ file: { settings, status }, epochs, test }: RunRecord, classes: number): RunPage {
  const { confusion = [] } = test ?? {};
  const square = confusion.length === classes && confusion.every(({ length }) => length === classes);
  return {
    variant: settings.variant,
    seed: settings.seed,
    status,
    epochs: settings.train.epochs,
    records: epochs.map(short),
    ...(test && square && { test: { confusion: test.confusion, perClass: test.perClass } }),
  };
}

function disagreementsOf(
  variants: readonly string[],
  runs: readonly RunRecord[],
): StudyPage["disagreements"] {
  const seeds = [...new Set(runs.map(({ file }) => file.settings.seed))];
  for (const seed of seeds) {
    const tests = runs.flatMap(({ file, test }) =>
      file.settings.seed === seed && test ? [test.predictions] : [],
    );
    const [first, ...others] = tests;
    if (tests.length < Math.max(2, variants.length) || others.some(({ length }) => length !== first.length))
      continue;
    const apart = first.filter((label, i) => others.some((predictions) => predictions[i] !== label));
    return { seed, count: apart.length, of: first.length };
  }
  return undefined;
}

/** Six figures are more than a chart can show. */
const short = (record: EpochRecord): EpochRecord =>
  Object.fromEntries(
    Object.entries(record).map(([key, value]) => [key, Number(value.toPrecision(6))]),
  ) as unknown as EpochRecord;

/** Settings by their dotted path; an empty table or list is `none`. */
function flat(path: string, value: unknown): [string, string][] {
  if (isTable(value) && Object.keys(value).length > 0) {
    return Object.entries(value).flatMap(([key, inner]) => flat(`${path}.${key}`, inner));
  }
  if (isTable(value) || value === undefined) return value === undefined ? [] : [[path, "none"]];
  return [[path, Array.isArray(value) ? value.join(", ") : String(value)]];
}

/** Runs that were computed alike, together. */
function environmentsOf(runs: readonly RunRecord[]): EnvironmentPage[] {
  const groups = new Map<string, { facts: readonly (readonly [string, string])[]; runs: string[] }>();
  for (const { file } of runs) {
    const facts = Object.entries({ atento: file.atento, ...file.environment }).map(
      ([name, fact]) => [name, String(fact)] as const,
    );
    const key = JSON.stringify(facts);
    const group = groups.get(key) ?? { facts, runs: [] };
    group.runs.push(`${file.settings.variant} ${file.settings.seed}`);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ facts, runs }) => ({ facts, runs: groups.size === 1 ? [] : runs }));
}
