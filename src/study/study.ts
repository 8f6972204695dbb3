import { z } from "zod";
import { attentions } from "../attention/registry.ts";
import type { DataSource } from "../data/registry.ts";
import { dataSchema } from "../data/schema.ts";
import { type ModelOptions, modelSchema, resolveModel } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { trainSchema } from "../train/options.ts";
import type { RunData, TrainOptions } from "../train/types.ts";
import { type Checked, check } from "./issues.ts";
import { isTable, merge, type Table } from "./merge.ts";
import { type Path, type Problem, YamlFile } from "./yaml.ts";

export interface StudyData extends Pick<RunData, "normalize"> {
  readonly source: DataSource;
  /** A tenth of the training images when absent. */
  readonly validation?: RunData["validation"];
}

export interface Variant {
  readonly name: string;
  readonly model: ModelOptions;
  readonly train: TrainOptions;
}

/** A study file understood: every variant complete, defaults filled in. */
export interface Study {
  readonly name: string;
  readonly data: StudyData;
  readonly seeds: readonly number[];
  readonly variants: readonly Variant[];
}

/** Letters; longer than any study, short enough for whatever YAML can be made to do. */
export const LONGEST_STUDY = 50_000;

/** What a study's folder holds beside its variants. */
const RESERVED = ["cam", "report", "results.json", "study.json"];

/** A name that a folder can have. */
export const folderName = z
  .string()
  .regex(
    /^[A-Za-z0-9][\w.-]{0,99}$/,
    "must be letters, digits, - _ or . and start with one of the first two",
  );

const table = z.record(z.string(), z.unknown());

const variantSchema = z
  .strictObject({
    model: table.default({}),
    train: table.default({}),
    attention: z.string().optional(),
    placement: z.unknown(),
    ...Object.fromEntries(attentionOptionNames().map((key) => [key, z.unknown()])),
  })
  .partial()
  .nullable();

const studySchema = z.strictObject({
  name: folderName,
  data: table,
  model: table.default({}),
  train: table.default({}),
  seeds: z
    .array(z.int().min(0))
    .min(1)
    .refine((seeds) => new Set(seeds).size === seeds.length, "must not name a seed twice")
    .default([1]),
  variants: z
    .record(
      folderName.refine((name) => !RESERVED.includes(name), {
        error: ({ input }) => `${input} is a name that the study's own files have`,
      }),
      variantSchema,
    )
    .refine(
      (variants) => Object.keys(variants).length > 0,
      "must have at least one variant, such as plain: {}",
    ),
});

/** Words such as `reduction` and `bias` that a variant may give beside `attention`. */
export function attentionOptionNames(): string[] {
  return [...new Set([...attentions.values()].flatMap(({ options }) => Object.keys(options)))];
}

/** @param name of the file, for errors. @throws YamlError with line and column of every mistake. */
export function parseStudy(text: string, name: string): Study {
  if (text.length > LONGEST_STUDY) {
    throw new UserError(`${name}: is longer than the ${LONGEST_STUDY} letters a study file may have`);
  }
  const file = new YamlFile(name, text);
  const outer = check(studySchema, file.value);
  if ("problems" in outer) throw file.error(outer.problems);
  const { data: rawData, variants: rawVariants, seeds, ...rest } = outer.value;
  const data = checkData(rawData);
  const variants = Object.entries(rawVariants).map(([variant, own]) =>
    checkVariant(file, variant, { model: rest.model, train: rest.train }, (own ?? {}) as Table),
  );
  const problems = [data, ...variants].flatMap((checked) => ("problems" in checked ? checked.problems : []));
  if (problems.length > 0) throw file.error(distinct(problems));
  return {
    name: rest.name,
    data: (data as { value: StudyData }).value,
    seeds,
    variants: variants.map((checked) => (checked as { value: Variant }).value),
  };
}

/** What stands under `data`: the source's own settings, and what is held out of it. */
export function checkData(raw: Table): Checked<StudyData> {
  const checked = check(dataSchema, raw, ["data"]);
  if ("problems" in checked) return checked;
  const { validation, normalize, ...source } = checked.value;
  return { value: { source: source as DataSource, validation, normalize } };
}

interface Sections {
  readonly model: Table;
  readonly train: Table;
}

function checkVariant(file: YamlFile, name: string, base: Sections, own: Table): Checked<Variant> {
  const { model: ownModel = {}, train: ownTrain = {}, ...shorthand } = own;
  const over: Sections = { model: { ...(ownModel as Table), ...shorthand }, train: ownTrain as Table };
  const merged = mergeModel(base.model, over.model);
  const place = (section: keyof Sections) => (problem: Problem) => ({
    ...problem,
    path: origin(file, name, section, problem.path),
  });
  const model = check(modelSchema, merged, ["model"]);
  const train = check(trainSchema, merge(base.train, over.train, true), ["train"]);
  const problems = [
    ...("problems" in model ? model.problems : probeModel(merged)).map(place("model")),
    ...("problems" in train ? train.problems.map(place("train")) : []),
  ];
  if (problems.length > 0) return { problems };
  return { value: { name, model: merged, train: (train as { value: TrainOptions }).value } };
}

/** Merges models; options of an attention module that a variant replaces are left behind where they do not apply. */
function mergeModel(base: Table, over: Table): ModelOptions {
  const { attentionOptions: inherited, ...model } = gatherOptions(base);
  const { attentionOptions: own, ...rest } = gatherOptions(over);
  const merged = merge(model, rest);
  const spec = attentions.get(String(merged["attention"]));
  const applying = Object.entries(inherited).filter(
    ([key]) => spec && (!("attention" in rest) || key in spec.options),
  );
  return { ...merged, attentionOptions: { ...Object.fromEntries(applying), ...own } } as ModelOptions;
}

/** Moves `reduction`, `bias` … to where a model has them. */
function gatherOptions(model: Table): Table & { attentionOptions: Table } {
  const names = attentionOptionNames();
  const entries = Object.entries(model).filter(([key]) => key !== "attentionOptions");
  const given = isTable(model["attentionOptions"]) ? model["attentionOptions"] : {};
  return {
    ...Object.fromEntries(entries.filter(([key]) => !names.includes(key))),
    attentionOptions: { ...given, ...Object.fromEntries(entries.filter(([key]) => names.includes(key))) },
  };
}

/** Finds the options that models and attention modules refuse, by asking for each of them alone, then for all. */
function probeModel(model: ModelOptions): Problem[] {
  const { name, stem, attention, attentionOptions = {} } = model;
  const refusal = (path: Path, options: ModelOptions): Problem[] => {
    try {
      resolveModel(options, 10);
      return [];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return [{ path: ["model", ...path], message: error.message }];
    }
  };
  const names = [
    ...refusal(["name"], { name }),
    ...refusal(["stem"], { stem }),
    ...refusal(["attention"], { attention }),
  ];
  const known = !names.some(({ path }) => path[1] === "attention");
  const options = Object.entries(known ? attentionOptions : {}).flatMap(([key, value]) =>
    refusal(["attentionOptions", key], { attention, attentionOptions: { [key]: value } }),
  );
  const found = [...names, ...options];
  return found.length > 0 ? found : refusal([], model);
}

/** Where in the file a merged setting comes from, as near as the file has it: the variant, or what all share. */
function origin(file: YamlFile, variant: string, section: keyof Sections, [, ...path]: Path): Path {
  const own: Path = ["variants", variant];
  for (let known: Path = path; known.length > 0; known = known.slice(0, -1)) {
    const short = known[0] === "attentionOptions" ? known.slice(1) : known;
    const places: Path[] = [
      [...own, section, ...known],
      [...own, section, ...short],
      [section, ...known],
      [section, ...short],
    ];
    if (section === "model" && short.length > 0) places.unshift([...own, ...short]);
    const place = places.find((candidate) => file.has(candidate));
    if (place) return place;
  }
  return own;
}

/** A mistake in what all variants share is found once a variant. */
function distinct(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((p) => [`${p.path.join("\0")}\0${p.message}`, p])).values()];
}
