import { CommanderError } from "commander";
import { refusalOf } from "../files/durable.ts";
import { UserError } from "../tensor/errors.ts";

/** Work was saved on request before it was done; the message says how to go on. */
export class Interrupted extends Error {
  override name = "Interrupted";
}

export interface Ending {
  /** 0 done, 1 a defect of ours, 2 a mistake in what was asked, 130 interrupted. */
  readonly code: number;
  /** For stderr; absent when it was already said. */
  readonly text?: string;
}

/** How the program ends after an error. */
export function endingOf(error: unknown, debug = Boolean(process.env["ATENTO_DEBUG"])): Ending {
  if (error instanceof CommanderError) return { code: error.exitCode === 0 ? 0 : 2 };
  if (error instanceof Interrupted) return { code: 130, text: error.message };
  const trace = debug && error instanceof Error ? `\n${error.stack}` : "";
  const mistake = error instanceof UserError ? error.message : systemMistake(error);
  if (mistake !== undefined) return { code: 2, text: prefixed(mistake) + trace };
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const hint = debug ? "" : " (this is a defect of atento: please report it with what ATENTO_DEBUG=1 prints)";
  return { code: 1, text: `error: ${message.split("\n")[0]}${hint}${trace}` };
}

const prefixed = (message: string) =>
  message
    .split("\n")
    .map((line) => `error: ${line}`)
    .join("\n");

/** What the operating system refused, as a mistake that the user can mend; undefined for any other error. */
function systemMistake(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof RangeError && /allocation failed|invalid .*array.* length/i.test(error.message)) {
    return `the memory cannot be had (${error.message}): take a smaller batch or model, or free some memory`;
  }
  const words = refusalOf(error);
  if (words === undefined) return undefined;
  const { path, syscall } = error as NodeJS.ErrnoException;
  return `${path ?? syscall}: ${words}: check the path, its rights and the space left there`;
}
