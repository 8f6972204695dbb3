import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const STUDY = "runs/crash";
const RUNS = ["plain/seed-1", "se/seed-1"];
/** Of each run. */
export const EQUAL = [
  ...["model.safetensors", "model.h5", "weights.h5", "model.onnx", "exports.json"],
  ...["metrics.jsonl", "test.json", "cam/scores.json", "cam/maps.safetensors"],
];
/** What the clock says, in results.json; timings.jsonl and speed.md hold nothing else. */
export const CLOCK = ["elapsedMs", "imagesPerSecond"];

/** How the results in a folder differ from those of a run that nothing happened to; empty when they do not. */
export function differences(folder: string, whole: string): string[] {
  const runs = RUNS.map((run) => join(STUDY, run));
  const equal = runs.flatMap((run) => EQUAL.map((file) => join(run, file)));
  const found = [...equal, join(STUDY, "report/table.md")].filter(
    (file) => !bytes(folder, file).equals(bytes(whole, file)),
  );
  if (results(folder) !== results(whole)) found.push(join(STUDY, "results.json"));
  for (const run of runs) {
    const [ours, theirs] = [folder, whole].map((at) => lastCheckpoint(at, run));
    if (!ours.equals(theirs)) found.push(`${run}: variables of the last checkpoint`);
  }
  return [...found, ...leftBehind(folder)];
}

function bytes(folder: string, file: string): Buffer {
  return readFileSync(join(folder, file));
}

function results(folder: string): string {
  const value: unknown = JSON.parse(bytes(folder, join(STUDY, "results.json")).toString());
  return JSON.stringify(value, (key, inner) => (CLOCK.includes(key) ? undefined : inner));
}

/** Bytes of the tensors: parameters, statistics and the optimiser's slots. */
function lastCheckpoint(folder: string, run: string): Buffer {
  const checkpoints = join(folder, run, "checkpoints");
  const [newest] = readdirSync(checkpoints)
    .filter((name) => name.endsWith(".safetensors"))
    .sort()
    .reverse();
  const file = readFileSync(join(checkpoints, newest));
  return file.subarray(8 + Number(file.readBigUInt64LE()));
}

/** Files that nobody should find later: temporary ones, locks, damaged checkpoints. */
function leftBehind(folder: string): string[] {
  const files = readdirSync(join(folder, STUDY), { recursive: true, encoding: "utf8" });
  return files
    .filter((name) => /\.(tmp|damaged)$|lock\.json$/.test(name))
    .map((name) => `${name} is left behind`);
}
