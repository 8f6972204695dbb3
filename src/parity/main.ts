#!/usr/bin/env node
import { parseArgs } from "node:util";
import { createEngine } from "../engine/create.ts";
import type { Engine } from "../engine/engine.ts";
import { unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { type ParityCase, readCase } from "./case.ts";
import { type CaseReport, checkCase, passes } from "./check.ts";
import { showReport, showSummary } from "./print.ts";

const usage = `usage: npm run parity -- DIR… [--engine reference|native|both] [--threads N]

Computes again what other programs computed (../shared/golden/README.md has the form of a case) and prints how
far the results are apart. Example: npm run parity -- ../shared/golden/se ../shared/golden/timm-se

Exit code: 0 all within tolerance, 1 something beyond it, 2 a folder that is no case.`;

interface Options {
  readonly folders: readonly string[];
  readonly engine: "reference" | "native" | "both";
  readonly threads?: number;
}

function parse(args: string[]): Options | undefined {
  let parsed: ReturnType<typeof parseOptions>;
  try {
    parsed = parseOptions(args);
  } catch (error) {
    throw new UserError((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help) return undefined;
  if (positionals.length === 0) throw new UserError("no folder given; usage: npm run parity -- DIR…");
  const engines = ["reference", "native", "both"] as const;
  const engine = engines.find((name) => name === values.engine);
  if (!engine) throw unknownName("engine", values.engine, engines);
  return {
    folders: positionals,
    engine,
    threads: values.threads === undefined ? undefined : Number(values.threads),
  };
}

const parseOptions = (args: string[]) =>
  parseArgs({
    args,
    allowPositionals: true,
    options: {
      engine: { type: "string", default: "both" },
      threads: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });

/** The engines asked for; `both` is content with one where the native engine was not built, and says so. */
function enginesOf({ engine, threads }: Options): Engine[] {
  const create = (name: "reference" | "native") => createEngine({ engine: name, threads });
  if (engine !== "both") return [create(engine)];
  try {
    return [create("reference"), create("native")];
  } catch (error) {
    if (!(error instanceof UserError) || threads !== undefined) throw error;
    console.error(`only the reference engine is compared: ${error.message}`);
    return [create("reference")];
  }
}

async function compare(cases: readonly ParityCase[], engines: readonly Engine[]): Promise<boolean> {
  const reports: { title: string; report: CaseReport }[] = [];
  for (const at of cases) {
    for (const engine of engines) {
      const report = await checkCase(at, engine);
      reports.push({ title: `${at.name} (${engine.name})`, report });
      console.log(showReport(at, engine.description, report));
    }
  }
  console.log(showSummary(reports));
  return reports.every(({ report }) => report.rows.every(passes));
}

try {
  const options = parse(process.argv.slice(2));
  if (options) {
    const cases = await Promise.all(options.folders.map(readCase));
    if (!(await compare(cases, enginesOf(options)))) process.exitCode = 1;
  } else console.log(usage);
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
