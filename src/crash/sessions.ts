import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../tensor/errors.ts";

/** Everything that has a state takes part: momentum, Adam, running statistics, a plateau, early stopping. */
const STUDY = `name: crash
data: { source: shapes, train: 240, test: 40, size: 16, validation: 40 }
model: { name: resnet14, stem: { channels: 8, kernel: 3, stride: 1, pool: true }, depths: [1], widths: [8], expansion: 2 }
train: { epochs: 4, batch: 20, augment: [crop, flip], optimizer: { name: sgd, lr: 0.05, momentum: 0.9, nesterov: true } }
variants:
  plain: { train: { warmup: { steps: 10 }, labelSmoothing: 0.1 } }
  se: { attention: se, reduction: 4, train: { optimizer: { name: adam, lr: 0.01 }, schedule: { name: plateau, patience: 0, threshold: 0.5 }, earlyStopping: { patience: 2 } } }
`;

/** When a session is killed: after a time, or before an operation on files (a write then still does its half). */
export type Kill = { readonly afterMs: number } | { readonly operation: number; readonly half: boolean };

export interface Session {
  readonly killed: boolean;
  readonly ms: number;
  /** What the process was doing, where it was killed before an operation. */
  readonly within?: string;
  /** Operations on files of a session that ended by itself. */
  readonly operations: number;
}

const main = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const hook = new URL("./hook.js", import.meta.url).href;

/** Runs the study's command in a folder as people do, in a process of its own, and may kill it. @throws UserError when it fails. */
export async function session(folder: string, threads: number, kill?: Kill): Promise<Session> {
  writeFileSync(join(folder, "crash.yaml"), STUDY);
  const [count, log] = [join(folder, "operations"), join(folder, "killed")];
  for (const path of [count, log]) rmSync(path, { force: true });
  const args = ["study", "crash.yaml", "--threads", `${threads}`, "--checkpoint-every", "0.01"];
  const child = spawn(process.execPath, ["--import", hook, main, ...args], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      ...{ ATENTO_CACHE: join(folder, "cache"), ATENTO_CRASH_COUNT: count, ATENTO_CRASH_LOG: log },
      ...(kill && "operation" in kill && { ATENTO_CRASH_AT: `${kill.operation}` }),
      ...(kill && "operation" in kill && kill.half && { ATENTO_CRASH_HALF: "1" }),
    },
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const began = performance.now();
  const timer = kill && "afterMs" in kill && setTimeout(() => child.kill("SIGKILL"), kill.afterMs);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve([code, signal]));
  });
  if (timer) clearTimeout(timer);
  const killed = signal === "SIGKILL";
  if (!killed && code !== 0)
    throw new UserError(`${folder}: a session ended with code ${code ?? signal}: ${stderr}`);
  const read = (path: string) => (existsSync(path) ? readFileSync(path, "utf8").trim() : undefined);
  return { killed, ms: performance.now() - began, within: read(log), operations: Number(read(count) ?? 0) };
}
