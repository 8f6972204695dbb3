import type { Measurement } from "./measure.ts";

export interface Failure {
  readonly failure: string;
}

/** A program to measure, with its name in the table. */
export interface Program {
  readonly name: string;
  run(): Promise<Measurement | Failure>;
}

/** The rounds of a program and the medians over them, or why there are none. */
export interface Result {
  readonly name: string;
  readonly rounds?: readonly Measurement[];
  readonly median?: Measurement;
  readonly failure?: string;
}

/**
 * Measures programs in turns, so that what slows the machine for a while meets all of them; one that failed is
 * not tried again.
 */
export async function inTurns(
  programs: readonly Program[],
  rounds: number,
  tell: (index: number) => void = () => {},
): Promise<Result[]> {
  const measured = programs.map(() => [] as Measurement[]);
  const failures = new Map<Program, string>();
  for (let round = 1; round <= rounds; round++) {
    for (const [k, program] of programs.entries()) {
      if (failures.has(program)) continue;
      tell(k);
      const got = await program.run();
      if ("failure" in got) failures.set(program, got.failure);
      else measured[k].push(got);
    }
  }
  return programs.map((program, k) => {
    const failure = failures.get(program);
    const { name } = program;
    return failure === undefined
      ? { name, rounds: measured[k], median: medians(measured[k]) }
      : { name, failure };
  });
}

/** The median of every figure; what is no figure is that of the last round. */
function medians(measurements: readonly Measurement[]): Measurement {
  const last = measurements[measurements.length - 1];
  const entries = Object.entries(last).map(([key, value]) => [
    key,
    typeof value === "number"
      ? middle(measurements.map((m) => m[key as keyof Measurement] as number))
      : value,
  ]);
  return Object.fromEntries(entries) as Measurement;
}

export const middle = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
