import { leave } from "../engine/create.ts";
import type { Display } from "./display.ts";
import { Interrupted } from "./errors.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs a job whose signal the first Ctrl-C, SIGTERM or hang-up aborts; a second one leaves at once with code 130.
 * @throws Interrupted when the job ends by that signal's reason.
 */
export async function interruptible<T>(
  show: Display,
  job: (signal: AbortSignal) => Promise<T>,
  leaveAtOnce: (code: number) => void = leave,
): Promise<T> {
  const controller = new AbortController();
  const handle = () => {
    if (controller.signal.aborted) return leaveAtOnce(130);
    show.clear();
    show.line("stopping: what is done is saved; once more leaves at once");
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, handle);
  try {
    return await job(controller.signal);
  } catch (error) {
    throw error === controller.signal.reason ? new Interrupted("nothing was begun") : error;
  } finally {
    for (const name of SIGNALS) process.off(name, handle);
  }
}

/** The command line that was given, to be given again. */
export function sameCommand(
  args: readonly string[] = process.argv.slice(2),
  environment: NodeJS.ProcessEnv = process.env,
): string {
  const quoted = args.map((arg) =>
    /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`,
  );
  // as it was started: npx says so in the environment
  const program = environment["npm_command"] === "exec" ? "npx atento" : "atento";
  return [program, ...quoted].join(" ");
}
