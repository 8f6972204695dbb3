import { Random } from "../random/random.ts";
import { UserError } from "../tensor/errors.ts";
import { mutate } from "./mutate.ts";
import type { Target } from "./target.ts";

export interface Tally {
  readonly target: string;
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** Of one input. */
  readonly slowestMs: number;
}

/** An input that a reader answered with anything but its values or a UserError, or not in time. */
export class Broken extends Error {
  readonly input: Buffer;

  constructor(target: string, seed: number, index: number, input: Buffer, problem: string) {
    super(`${target}, seed ${seed}, input ${index} of ${input.length} bytes: ${problem}`);
    this.input = input;
  }
}

/** A reader may take this long for one of these small inputs, and that in computing: the machine may be busy. */
const LONGEST_MS = 2000;

/** Gives a reader as many changed files. @throws Broken. @param onInput told before each. */
export async function fuzz(
  target: Target,
  inputs: number,
  seed: number,
  onInput?: (index: number, input: Buffer) => void,
): Promise<Tally> {
  let [accepted, slowestMs] = [0, 0];
  for (let index = 0; index < inputs; index++) {
    const input = mutate(target.seeds, new Random("fuzz", target.name, seed, index));
    onInput?.(index, input);
    const broken = (problem: string) => new Broken(target.name, seed, index, input, problem);
    const [began, cpu] = [performance.now(), process.cpuUsage()];
    try {
      await target.read(Buffer.from(input));
      accepted++;
    } catch (error) {
      if (!(error instanceof UserError)) throw broken(String((error as Error).stack));
      if (error.message.length > 20_000) throw broken(`a message of ${error.message.length} letters`);
    }
    const { user, system } = process.cpuUsage(cpu);
    const ms = Math.min(performance.now() - began, (user + system) / 1000);
    if (ms > LONGEST_MS) throw broken(`took ${Math.round(ms)} ms`);
    slowestMs = Math.max(slowestMs, ms);
  }
  return { target: target.name, inputs, accepted, refused: inputs - accepted, slowestMs };
}
