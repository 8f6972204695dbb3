import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The command, compiled. */
export const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Start {
  readonly cwd: string;
  /** Called with all that came on stderr so far. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void, pid: number) => void;
  /** A program that starts node, with its arguments. */
  readonly through?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs the command line as people do, as a process of its own on dist/. */
export function atento(args: readonly string[], { cwd, onStderr, through = [], env }: Start): Promise<Ended> {
  const [program, ...rest] = [...through, process.execPath, main, ...args];
  const child = spawn(program, rest, {
    cwd,
    env: { ...process.env, ATENTO_CACHE: join(cwd, "cache"), ATENTO_DEBUG: "", npm_command: "", ...env },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    onStderr?.(stderr, (signal) => child.kill(signal), child.pid!);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** A folder that is there for one test. */
export function temporaryFolder(): {
  readonly path: string;
  remove(): void;
  write(name: string, text: string): string;
} {
  const path = mkdtempSync(join(tmpdir(), "atento-e2e-"));
  return {
    path,
    remove: () => rmSync(path, { recursive: true, force: true }),
    write: (name, text) => {
      writeFileSync(join(path, name), text);
      return name;
    },
  };
}

/** A study that trains in a moment, on either engine. */
export const TINY = `name: tiny
data: { source: shapes, train: 320, test: 40, size: 16, validation: 40 }
model: { name: resnet14, stem: { channels: 4, kernel: 3, stride: 1, pool: true }, depths: [1], widths: [4], expansion: 2 }
train: { epochs: 2, batch: 20, optimizer: { name: sgd, lr: 0.05, momentum: 0.9 } }
variants:
  plain: {}
  se: { attention: se, reduction: 4 }
`;
