import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { UserError } from "../tensor/errors.ts";
import type { BenchSettings, Measurement } from "./measure.ts";

/** Another program on the same models and the same machine. */
export interface Opponent {
  readonly name: string;
  readonly script: string;
  readonly modes: readonly string[];
}

/** What `--against` may name. */
export const opponents: Readonly<Record<string, readonly Opponent[]>> = {
  torch: [
    { name: "PyTorch, NCHW", script: "torch_resnet.py", modes: [] },
    { name: "PyTorch, channels last", script: "torch_resnet.py", modes: ["channels_last"] },
  ],
  "torch-compile": [
    { name: "PyTorch, compiled", script: "torch_resnet.py", modes: ["compile"] },
    {
      name: "PyTorch, compiled, channels last",
      script: "torch_resnet.py",
      modes: ["channels_last", "compile"],
    },
  ],
};

const folder = join(dirname(fileURLToPath(import.meta.url)), "../../bench");

/** @throws UserError when Python or the package is missing. */
export async function measureOpponent(
  { script, modes, name }: Opponent,
  { stem, attention, batch, steps, threads }: BenchSettings,
  python: string,
): Promise<Measurement> {
  const given = [join(folder, script), stem, attention, String(batch), String(steps), ...modes];
  const env = { ...process.env, ...(threads && { THREADS: String(threads) }) };
  try {
    const { stdout } = await promisify(execFile)(python, given, { env });
    return JSON.parse(stdout) as Measurement;
  } catch (error) {
    const said =
      error instanceof Error && "stderr" in error
        ? String(error.stderr).trim().split("\n").pop()
        : String(error);
    throw new UserError(
      `${name} could not be measured with ${python}: ${said}. ` +
        "Install it (pip install torch) in a virtual environment and give --python PATH",
    );
  }
}
