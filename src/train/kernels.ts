import { createEngine, type EngineOptions } from "../engine/create.ts";
import type { Engine } from "../engine/engine.ts";
import { UserError } from "../tensor/errors.ts";
import type { RunFile } from "./types.ts";

/** The native engine's words for itself: instruction set and threads. */
const NATIVE = /^native engine \((\w+), (\d+) threads?\)$/;

/**
 * The engine to go on with: of the instruction set that a run was begun with, since each rounds in its own way.
 * @param onNote told where that set cannot be had, or the other engine was it, and the engine given serves.
 */
export function engineToGoOn(
  known: RunFile | undefined,
  engine: Engine,
  onNote: (note: string) => void,
): Engine {
  const begun = String(known?.environment["engine"] ?? engine.description);
  const [was, is] = [begun, engine.description].map((text) => NATIVE.exec(text));
  if (begun === engine.description || (was && is && was[1] === is[1])) return engine;
  if (was && is) {
    try {
      return createEngine({ isa: was[1] as EngineOptions["isa"], threads: Number(is[2]) });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
  }
  onNote(
    `begun with the ${begun}, goes on with the ${engine.description}: ` +
      "the last bits may differ from those of a run that stayed where it was",
  );
  return engine;
}
