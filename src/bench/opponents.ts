import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Measurement, Workload } from "./measure.ts";
import type { Failure } from "./turns.ts";

/** Where the others are installed. */
export interface Places {
  readonly python: string;
  readonly tensorflowPython?: string;
  /** Folder whose node_modules has TensorFlow.js. */
  readonly tfjs: string;
}

/** Another program on the same models and the same machine. */
export interface Opponent {
  readonly name: string;
  /** In bench/, called with STEM ATTENTION BATCH STEPS and the modes. */
  readonly script: string;
  readonly modes: readonly string[];
  readonly program: (places: Places) => string;
  readonly install: string;
  /** Most images a step, where more would take minutes or more memory than the program can have. */
  readonly batch: number;
}

const torch = {
  batch: Number.POSITIVE_INFINITY,
  script: "torch_resnet.py",
  program: ({ python }: Places) => python,
  install: "in a virtual environment: pip install torch; then --python PATH",
};
const tensorflow = {
  batch: Number.POSITIVE_INFINITY,
  script: "tensorflow_resnet.py",
  program: ({ python, tensorflowPython }: Places) => tensorflowPython ?? python,
  install: "in a virtual environment: pip install tensorflow-cpu; then --tensorflow-python PATH",
};
const tfjs = {
  script: "tfjs_resnet.mjs",
  program: () => process.execPath,
  install:
    "in another folder: npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm; then --tfjs FOLDER",
};

/** What `--against` may name. */
export const opponents: Readonly<Record<string, readonly Opponent[]>> = {
  torch: [
    { ...torch, name: "PyTorch, NCHW", modes: [] },
    { ...torch, name: "PyTorch, channels last", modes: ["channels_last"] },
  ],
  "torch-compile": [
    { ...torch, name: "PyTorch, compiled", modes: ["compile"] },
    { ...torch, name: "PyTorch, compiled, channels last", modes: ["channels_last", "compile"] },
  ],
  tensorflow: [
    { ...tensorflow, name: "TensorFlow, fused batch norm", modes: ["fused"] },
    { ...tensorflow, name: "TensorFlow, Keras layers", modes: [] },
  ],
  "tensorflow-xla": [{ ...tensorflow, name: "TensorFlow, XLA", modes: ["xla"] }],
  tfjs: [
    { ...tfjs, name: "TensorFlow.js, wasm, 1 thread", modes: ["wasm"], batch: 8 },
    { ...tfjs, name: "TensorFlow.js, JavaScript, 1 thread", modes: ["cpu"], batch: 1 },
  ],
};

const folder = join(dirname(fileURLToPath(import.meta.url)), "../../bench");
const known = ["none", "se", "cbam"];

/** Measures in a process of its own; a smaller batch than asked for leaves memory out. */
export async function measureOpponent(
  { script, modes, program, install, batch: most }: Opponent,
  { stem, attention, batch, steps, threads }: Workload,
  places: Places,
): Promise<Measurement | Failure> {
  if (!known.includes(attention)) return { failure: `knows no attention ${attention}` };
  const images = Math.min(batch, most);
  const given = [join(folder, script), stem, attention, `${images}`, `${steps}`, ...modes];
  const env = { ...process.env, THREADS: `${threads}`, TFJS: places.tfjs };
  try {
    const { stdout } = await promisify(execFile)(program(places), given, { env, maxBuffer: 2 ** 26 });
    const measured = JSON.parse(stdout.trim().split("\n").pop()!) as Measurement;
    return images < batch ? { ...measured, peakRssMiB: undefined } : measured;
  } catch (error) {
    const why = reason(error);
    const missing = /no such program|No module named|Cannot find module/.test(why);
    return { failure: missing ? `${why}\n${install}` : why };
  }
}

/** The one line that says why a program ended. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const {
    code,
    path,
    signal,
    stderr = "",
  } = error as NodeJS.ErrnoException & {
    signal?: string;
    stderr?: string;
  };
  if (code === "ENOENT") return `${path}: no such program`;
  const lines = stderr.trim().split("\n");
  const named = lines.findLast((line) => /^[\w.]*(Error|Exception|Interrupt)\b/.test(line));
  return named ?? (signal ? `ended by ${signal}` : lines.pop() || error.message.split("\n")[0]);
}
