import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Dataset } from "../../../src/data/dataset.ts";
import { createEngine } from "../../../src/engine/create.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import type { EpochRecord, RunProgress, TrainRequest, TrainResult } from "../../../src/train/types.ts";
import {
  abortedWhen,
  makeTemporaryFolder,
  request,
  temporaryFolder,
  tensorsIn,
  toyDataset,
  withoutTimes,
} from "./support.ts";

// 16 images to train on: steps of 5, 5, 5 and 1; everything that has a state takes part
const train = {
  epochs: 4,
  optimizer: { name: "adam", lr: 0.02 },
  schedule: { name: "plateau", patience: 0, factor: 0.5, threshold: 0.5 },
  warmup: { steps: 3 },
  augment: [{ crop: { padding: 2 } }, "flip", { cutout: { size: 3 } }],
  labelSmoothing: 0.1,
  earlyStopping: { patience: 4 },
};
const asked = { train, model: { attention: "se", attentionOptions: { reduction: 2 } } };

const checkpointName = (step: number) => `step-${String(step).padStart(9, "0")}.safetensors`;
const lastCheckpoint = (folder: string) => join(folder, "checkpoints", checkpointName(16));
const metricsIn = (folder: string): EpochRecord[] =>
  readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const statusIn = (folder: string) => JSON.parse(readFileSync(join(folder, "run.json"), "utf8")).status;

describe("a run that was interrupted", () => {
  let dataset: Dataset;
  let whole: { folder: string; result: TrainResult };
  const run = (folder: string): TrainRequest => request(folder, dataset, asked);

  beforeAll(async () => {
    dataset = toyDataset();
    const folder = makeTemporaryFolder();
    whole = { folder, result: await trainRun(run(folder)) };
    return () => rmSync(folder, { recursive: true, force: true });
  });

  it("is compared with a whole one in which the rate fell", () => {
    const rates = whole.result.epochs.map(({ lr }) => lr);
    expect(rates[0]).toBeGreaterThan(rates[3]);
  });

  function expectSameBits(folder: string): void {
    expect(tensorsIn(join(folder, "model.safetensors"))).toEqual(
      tensorsIn(join(whole.folder, "model.safetensors")),
    );
    expect(tensorsIn(lastCheckpoint(folder))).toEqual(tensorsIn(lastCheckpoint(whole.folder)));
    expect(metricsIn(folder).map(withoutTimes)).toEqual(metricsIn(whole.folder).map(withoutTimes));
  }

  it.each([1, 3, 4, 6, 10, 15])("after step %i ends with the same bits as one that was not", async (step) => {
    const folder = temporaryFolder();
    // an epoch is 4 steps and 2 evaluated batches
    const engineRun = step + 2 * Math.floor((step - 1) / 4);
    const first = await trainRun(abortedWhen(run(folder), (runs) => runs === engineRun));
    expect(first.status).toBe("interrupted");
    expect(statusIn(folder)).toBe("interrupted");
    expect(readdirSync(join(folder, "checkpoints"))).toContain(checkpointName(step));
    expect(existsSync(join(folder, "model.safetensors"))).toBe(false);

    const progress: RunProgress[] = [];
    const second = await trainRun({ ...run(folder), onProgress: (p) => progress.push(p) });
    expect(progress[0]).toEqual({ kind: "start", epochs: 4, stepsPerEpoch: 4, resumedStep: step });
    expect(second.status).toBe("done");
    expectSameBits(folder);
  });

  it("many times over ends with the same bits", async () => {
    const folder = temporaryFolder();
    let sessions = 0;
    for (let status = "interrupted"; status === "interrupted"; sessions++) {
      ({ status } = await trainRun(abortedWhen(run(folder), (runs) => runs === 3)));
    }
    expect(sessions).toBeGreaterThan(6);
    expectSameBits(folder);
  });

  it("while it was validated repeats only the validation", async () => {
    const folder = temporaryFolder();
    const first = await trainRun(abortedWhen(run(folder), (_, last) => last?.kind === "evaluate"));
    expect(first).toEqual({ status: "interrupted", epochs: [] });
    const progress: RunProgress[] = [];
    await trainRun({ ...run(folder), onProgress: (p) => progress.push(p) });
    expect(progress.slice(0, 3).map(({ kind }) => kind)).toEqual(["start", "evaluate", "epoch"]);
    expectSameBits(folder);
  });

  it("by a crash goes on from the last epoch", async () => {
    const folder = temporaryFolder();
    const crashing = abortedWhen(run(folder), (runs) => {
      if (runs === 9) throw new Error("power cut");
      return false;
    });
    await expect(trainRun(crashing)).rejects.toThrow("power cut");
    expect(statusIn(folder)).toBe("failed");
    await trainRun(run(folder));
    expectSameBits(folder);
  });

  it("goes on from the checkpoint before when the newest is damaged", async () => {
    const folder = temporaryFolder();
    await trainRun(abortedWhen(run(folder), (runs) => runs === 16));
    const checkpoints = readdirSync(join(folder, "checkpoints")).sort();
    expect(checkpoints.length).toBeGreaterThanOrEqual(2);
    truncateSync(join(folder, "checkpoints", checkpoints.at(-1)!), 3000);
    await trainRun(run(folder));
    expectSameBits(folder);
  });

  it("says so when every checkpoint is damaged", async () => {
    const folder = temporaryFolder();
    await trainRun(abortedWhen(run(folder), (runs) => runs === 8));
    for (const name of readdirSync(join(folder, "checkpoints"))) {
      writeFileSync(join(folder, "checkpoints", name), "not a checkpoint");
    }
    await expect(trainRun(run(folder))).rejects.toThrow(
      /header of .* bytes.*: remove .*checkpoints to train the run anew/,
    );
  });

  it("refuses checkpoints that nobody knows anything about", async () => {
    const folder = temporaryFolder();
    cpSync(join(whole.folder, "checkpoints"), join(folder, "checkpoints"), { recursive: true });
    await expect(trainRun(run(folder))).rejects.toThrow(/holds checkpoints, but no run.json/);
  });

  it("before anything was computed starts from the beginning", async () => {
    const folder = temporaryFolder();
    const nothing = await trainRun({ ...run(folder), signal: AbortSignal.abort() });
    expect(nothing).toEqual({ status: "interrupted", epochs: [] });
    await trainRun(run(folder));
    expectSameBits(folder);
  });

  it("while it was tested repeats only the test", async () => {
    const folder = temporaryFolder();
    const testing = abortedWhen(run(folder), (_, last) => last?.kind === "evaluate" && last.total === 9);
    expect(await trainRun(testing)).toEqual({ status: "interrupted", epochs: metricsIn(folder) });
    const progress: RunProgress[] = [];
    await trainRun({ ...run(folder), onProgress: (p) => progress.push(p) });
    expect(progress.map(({ kind }) => kind)).toEqual(["start", "evaluate"]);
    expectSameBits(folder);
  });

  it("counts its time over all sessions", async () => {
    const folder = temporaryFolder();
    await trainRun(abortedWhen(run(folder), (runs) => runs === 13));
    const before = metricsIn(folder);
    const { epochs } = await trainRun(run(folder));
    expect(epochs.slice(0, before.length)).toEqual(before);
    for (const [k, { elapsedMs }] of epochs.entries()) {
      expect(elapsedMs).toBeGreaterThan(k === 0 ? 0 : epochs[k - 1].elapsedMs);
    }
  });

  it("is returned at once when it is done", async () => {
    const engine = { ...run("").engine, open: () => expect.unreachable("nothing is left to compute") };
    const again = await trainRun({ ...run(whole.folder), engine });
    expect(again).toEqual(JSON.parse(JSON.stringify(whole.result)));
  });

  it("makes again what was lost of a finished one", async () => {
    const folder = temporaryFolder();
    cpSync(whole.folder, folder, { recursive: true });
    rmSync(join(folder, "model.safetensors"));
    expect((await trainRun(run(folder))).test).toEqual(whole.result.test);
    expectSameBits(folder);
    writeFileSync(join(folder, "test.json"), "{");
    expect((await trainRun(run(folder))).test).toEqual(whole.result.test);
  });

  it("keeps the newest two checkpoints and the best", async () => {
    const kept = readdirSync(join(whole.folder, "checkpoints")).sort();
    const losses = whole.result.epochs.map(({ validationLoss }) => validationLoss!);
    const best = 4 * (losses.indexOf(Math.min(...losses)) + 1);
    const steps = [...new Set([best, 12, 16])].sort((a, b) => a - b);
    expect(kept).toEqual(steps.map(checkpointName));
  });
});

const native = createEngine();

describe.skipIf(native.name !== "native")("on the native engine, where it is built", () => {
  it("ends with the same bits after interruptions as without", async () => {
    const dataset = toyDataset();
    const [whole, folder] = [temporaryFolder(), temporaryFolder()];
    const run = (into: string) => ({ ...request(into, dataset, asked), engine: native });
    await trainRun(run(whole));
    for (let status = "interrupted"; status === "interrupted"; ) {
      ({ status } = await trainRun(abortedWhen(run(folder), (runs) => runs === 5)));
    }
    for (const file of ["model.safetensors", "checkpoints/step-000000016.safetensors"]) {
      expect(tensorsIn(join(folder, file))).toEqual(tensorsIn(join(whole, file)));
    }
    expect(metricsIn(folder).map(withoutTimes)).toEqual(metricsIn(whole).map(withoutTimes));
  });
});
