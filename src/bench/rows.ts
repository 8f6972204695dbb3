import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { counted } from "../report/numbers.ts";
import { UserError } from "../tensor/errors.ts";
import type { Row } from "./compare.ts";
import type { Measurement, Variant, Workload } from "./measure.ts";
import { measureOpponent, type Opponent, type Places } from "./opponents.ts";
import { inTurns, type Program, type Result } from "./turns.ts";

/** What a process of our own is asked to measure. */
export interface Single {
  readonly workload: Workload;
  readonly variant: Variant;
  readonly profile?: boolean;
}

/** Every measurement has a process of its own, so that its peak memory is its own. */
async function measureApart(settings: Single): Promise<Measurement> {
  const main = fileURLToPath(new URL("./main.js", import.meta.url));
  const given = [main, "--single", JSON.stringify(settings)];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, given, { maxBuffer: 2 ** 26 });
    return JSON.parse(stdout) as Measurement;
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    throw said.startsWith("bench: ") ? new UserError(said.slice("bench: ".length).trim()) : error;
  }
}

const nameOf = ({ isa, passes }: Variant) =>
  ["Atento", ...(isa ? [isa] : []), ...(passes === false ? ["no passes"] : [])].join(", ");

interface Asked extends Program {
  readonly workload: Workload;
}

interface RunOptions extends Places {
  readonly rounds: number;
  readonly profile?: boolean;
}

/** A row a workload; all are measured in turns, our own one after the other, so that ratios between rows hold too. */
export async function measureRows(
  workloads: readonly Workload[],
  variants: readonly Variant[],
  opponents: readonly Opponent[],
  options: RunOptions,
): Promise<Row[]> {
  const asked = (of: (workload: Workload) => Program[]): Asked[] =>
    workloads.flatMap((workload) => of(workload).map((program) => ({ ...program, workload })));
  const programs = [
    ...asked((workload) =>
      variants.map((variant) => ({
        name: nameOf(variant),
        run: () => measureApart({ workload, variant, profile: options.profile }),
      })),
    ),
    ...asked((workload) =>
      opponents.map((opponent) => ({
        name: opponent.name + (opponent.batch < workload.batch ? `, batch ${opponent.batch}` : ""),
        run: () => measureOpponent(opponent, workload, options),
      })),
    ),
  ];
  let measured = 0;
  const total = options.rounds * programs.length;
  const results = await inTurns(programs, options.rounds, (k) => {
    const { stem, attention, threads } = programs[k].workload;
    const what = `${stem}, ${attention}, ${counted(threads, "thread")}: ${programs[k].name}`;
    process.stderr.write(`${++measured} of ${total}: ${what}\n`);
  });
  return workloads.map((settings) => {
    const row = results.filter((_, k) => programs[k].workload === settings);
    const ours = row.slice(0, variants.length);
    return { settings, ours, others: row.slice(variants.length).map((other) => sameModel(other, ours[0])) };
  });
}

/** A program that trains another number of parameters is no opponent. */
function sameModel(other: Result, { median: ours }: Result): Result {
  const { name, median } = other;
  if (!median || !ours || median.parameters === ours.parameters) return other;
  return { name, failure: `another model: ${median.parameters} parameters, ours has ${ours.parameters}` };
}
