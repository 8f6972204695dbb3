import type { z } from "zod";
import { unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { isTable } from "./merge.ts";
import type { Path, Problem } from "./yaml.ts";

type Issue = z.core.$ZodIssue;

export type Checked<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

/** Parses a value and says in words what is wrong with it; paths start with `at`. */
export function check<T>(schema: z.ZodType<T>, value: unknown, at: Path = []): Checked<T> {
  // zod hands the schema that raised an issue only to the error map, which is where its keys are to be had.
  const keysOf = new Map<readonly string[], readonly string[]>();
  const parsed = schema.safeParse(value, {
    reportInput: true,
    error: (issue) => {
      if (issue.code === "unrecognized_keys") keysOf.set(issue.keys, shapeKeys(issue.inst));
      return undefined;
    },
  });
  if (parsed.success) return { value: parsed.data };
  const { issues } = parsed.error;
  // What is asked of values together matters once each is as it should be.
  const plain = issues.filter(({ code }) => code !== "custom");
  const told = plain.length > 0 ? plain : issues;
  return { problems: told.flatMap((issue) => problemsOf(issue, at, keysOf)) };
}

function shapeKeys(schema: unknown): readonly string[] {
  const { shape } = schema as { shape?: Record<string, unknown> };
  return Object.keys(shape ?? {});
}

type KeysOf = ReadonlyMap<readonly string[], readonly string[]>;

function problemsOf(issue: Issue, at: Path, keysOf: KeysOf): Problem[] {
  const path = [...at, ...(issue.path as Path)];
  if (issue.code === "unrecognized_keys") {
    const known = keysOf.get(issue.keys);
    const what = path.length > 0 ? `key in ${path.join(".")}` : "key";
    return issue.keys.map((key) => ({
      path: [...path, key],
      key: true,
      message: known ? unknownName(what, key, known).message : issue.message,
    }));
  }
  if (issue.code === "invalid_union" && !("discriminator" in issue && issue.discriminator)) {
    const branch = closestBranch(issue.errors);
    if (branch) return branch.flatMap((inner) => problemsOf(inner, path, keysOf));
  }
  return [{ path, message: `${path.join(".") || "the file"} ${phrase(issue, path)}` }].map((problem) =>
    isName(issue) ? { ...problem, message: nameMessage(issue, path) } : problem,
  );
}

/** The alternative whose kind of value was given; undefined when none was. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = branches.filter((issues) => !issues.some(isWrongKind));
  return fitting.sort((a, b) => a.length - b.length)[0];
}

const isWrongKind = (issue: Issue) => issue.code === "invalid_type" && issue.path.length === 0;

type NameIssue = Extract<Issue, { code: "invalid_value" }> | Extract<Issue, { code: "invalid_union" }>;

function isName(issue: Issue): issue is NameIssue {
  return optionsOf(issue).length > 1 && typeof inputName(issue) === "string";
}

function optionsOf(issue: Issue): readonly unknown[] {
  if (issue.code === "invalid_value") return issue.values;
  return issue.code === "invalid_union" && "options" in issue ? (issue.options ?? []) : [];
}

/** What was given where a name was expected: a discriminated union reports the object around it. */
function inputName(issue: Issue): unknown {
  if (issue.code !== "invalid_union") return issue.input;
  const { discriminator } = issue;
  const around = issue.input as Record<string, unknown>;
  return discriminator ? around?.[discriminator] : undefined;
}

function nameMessage(issue: NameIssue, path: Path): string {
  const [last, before] = [path.at(-1), path.at(-2)];
  const noun = last === "name" && before !== undefined ? before : last === "source" ? "data source" : last;
  const words = typeof noun === "number" ? before : noun;
  return unknownName(String(words), String(inputName(issue)), optionsOf(issue).map(String)).message;
}

function phrase(issue: Issue, path: Path): string {
  const given = issue.code === "invalid_union" ? inputName(issue) : issue.input;
  const is = given === undefined ? "is missing" : `is ${show(given)}`;
  switch (issue.code) {
    case "invalid_type":
      return given === undefined
        ? `is missing: it must be ${kind(issue.expected)}`
        : `must be ${kind(issue.expected)}, ${is}`;
    case "invalid_value":
      return `must be ${issue.values.map(String).join(" or ")}, ${is}`;
    case "too_small":
      return `must ${bound(issue.origin, issue.inclusive ? "at least" : "more than", issue.minimum)}, ${is}`;
    case "too_big":
      return `must ${bound(issue.origin, issue.inclusive ? "at most" : "less than", issue.maximum)}, ${is}`;
    case "invalid_union": {
      const options = optionsOf(issue);
      if (options.length > 0) return `must be ${options.map(String).join(" or ")}, ${is}`;
      const kinds = issue.errors.flatMap((branch) => branch.filter(isWrongKind)) as { expected: string }[];
      return `must be ${[...new Set(kinds.map(({ expected }) => kind(expected)))].join(" or ")}, ${is}`;
    }
    case "invalid_key":
      return `${JSON.stringify(path.at(-1))}: ${issue.issues[0]?.message ?? "no such key"}`;
    default:
      return `${issue.message}${given === undefined || isTable(given) ? "" : `, ${is}`}`;
  }
}

const unit = (origin: string, n: number | bigint) =>
  origin === "array" ? (n === 1 ? "entry" : "entries") : n === 1 ? "letter" : "letters";

const bound = (origin: string, relation: string, limit: number | bigint) =>
  origin === "array" || origin === "string"
    ? `have ${relation} ${limit} ${unit(origin, limit)}`
    : `be ${relation} ${limit}`;

const KINDS: Readonly<Record<string, string>> = {
  object: "a table of keys",
  record: "a table of keys",
  array: "a list",
  tuple: "a list",
  string: "a word",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
};

const kind = (expected: string) => KINDS[expected] ?? expected;

function show(value: unknown): string {
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** The checked value. @throws UserError, a line a problem. */
export function expectChecked<T>(checked: Checked<T>): T {
  if ("value" in checked) return checked.value;
  throw new UserError(checked.problems.map(({ message }) => message).join("\n"));
}
