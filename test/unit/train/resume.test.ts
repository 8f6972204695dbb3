import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import type { Dataset } from "../../../src/data/dataset.ts";
import { createEngine } from "../../../src/engine/create.ts";
import { DamagedFile } from "../../../src/tensor/errors.ts";
import { readCheckpoint } from "../../../src/train/checkpoint-file.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import type {
  EpochRecord,
  EpochTiming,
  RunProgress,
  TrainRequest,
  TrainResult,
} from "../../../src/train/types.ts";
import {
  abortedWhen,
  makeTemporaryFolder,
  request,
  temporaryFolder,
  tensorsIn,
  toyDataset,
  wrapRuns,
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
const textIn = (folder: string, file: string) => readFileSync(join(folder, file), "utf8");
const timingsIn = (folder: string): EpochTiming[] =>
  readFileSync(join(folder, "timings.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
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
    const [model, expected] = [folder, whole.folder].map((at) => readFileSync(join(at, "model.safetensors")));
    expect(model.equals(expected)).toBe(true);
    expect(tensorsIn(lastCheckpoint(folder))).toEqual(tensorsIn(lastCheckpoint(whole.folder)));
    expect(textIn(folder, "metrics.jsonl")).toBe(textIn(whole.folder, "metrics.jsonl"));
    expect(textIn(folder, "test.json")).toBe(textIn(whole.folder, "test.json"));
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
    expect(progress[0]).toMatchObject({ kind: "start", epochs: 4, stepsPerEpoch: 4, resumedStep: step });
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
    const [before, newest] = checkpoints.slice(-2);
    truncateSync(join(folder, "checkpoints", newest), 3000);
    const progress: RunProgress[] = [];
    await trainRun({ ...run(folder), onProgress: (p) => progress.push(p) });
    expect(progress[0]).toEqual({
      kind: "note",
      text: expect.stringMatching(
        new RegExp(`${newest}: no valid .*: set aside as .*${newest}.damaged; the one`),
      ),
    });
    expect(progress[1]).toMatchObject({ kind: "start", resumedStep: Number(/\d+/.exec(before)![0]) });
    expect(existsSync(join(folder, "checkpoints", `${newest}.damaged`))).toBe(true);
    expectSameBits(folder);
  });

  it("notices any byte of a checkpoint that has changed", async () => {
    const folder = temporaryFolder();
    await trainRun(abortedWhen(run(folder), (runs) => runs === 3));
    const path = join(folder, "checkpoints", checkpointName(3));
    const bytes = readFileSync(path);
    for (let k = 0; k < 300; k++) {
      const damaged = Buffer.from(bytes);
      damaged[Math.floor((k / 300) * bytes.length)] ^= 1 << (k % 8);
      writeFileSync(path, damaged);
      await expect(readCheckpoint(path, []), `change ${k}`).rejects.toThrow(DamagedFile);
    }
    writeFileSync(path, bytes);
    await trainRun(run(folder));
    expectSameBits(folder);
  });

  it("keeps checkpoints within an epoch, as often as it is asked to", async () => {
    const folder = temporaryFolder();
    let steps = 0;
    let seen: string[] = [];
    const engine = wrapRuns(run("").engine, async (program, feeds) => {
      if (++steps !== 4) return program(feeds);
      while (seen.length === 0) {
        await pause(5);
        seen = readdirSync(join(folder, "checkpoints")).filter((name) => name.startsWith("step"));
      }
      throw new Error("power cut");
    });
    await expect(trainRun({ ...run(folder), engine, checkpointMs: 0 })).rejects.toThrow("power cut");
    expect(seen).toEqual([expect.stringMatching(/^step-00000000[123]\.safetensors$/)]);
    await trainRun({ ...run(folder), checkpointMs: 0 });
    expectSameBits(folder);
  });

  it("is left within a step that takes long: the step is done again", async () => {
    const folder = temporaryFolder();
    const controller = new AbortController();
    let steps = 0;
    const engine = wrapRuns(run("").engine, async (program, feeds) => {
      const outputs = program(feeds);
      if (++steps === 2) await pause(1600);
      if (steps !== 3) return outputs;
      setTimeout(() => controller.abort(), 100);
      await outputs;
      await pause(20_000, undefined, { ref: false });
      return outputs;
    });
    const began = performance.now();
    const result = await trainRun({ ...run(folder), engine, signal: controller.signal });
    expect(result.status).toBe("interrupted");
    expect(performance.now() - began).toBeLessThan(1600 + 3000);
    expect(readdirSync(join(folder, "checkpoints"))).toEqual([checkpointName(2)]);
    await trainRun(run(folder));
    expectSameBits(folder);
  });

  it("is not begun by two at once", async () => {
    const folder = temporaryFolder();
    let second: Promise<unknown> = Promise.resolve();
    const first = abortedWhen(run(folder), (runs) => {
      if (runs === 3) second = trainRun(run(folder)).catch((error) => error);
      return false;
    });
    await trainRun(first);
    expect(await second).toMatchObject({
      name: "UserError",
      message: expect.stringContaining(
        `${folder}: process ${process.pid} on ${hostname()} trains here since `,
      ),
    });
    expectSameBits(folder);
    expect(readdirSync(folder)).not.toContain("lock.json");
  });

  it("can be interrupted while it waits for one of another machine", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "lock.json");
    writeFileSync(path, "");
    const holder = { pid: 7, host: "far", machine: "elsewhere", started: 1, since: "today", folder };
    writeFileSync(path, JSON.stringify({ ...holder, inode: String(statSync(path).ino) }));
    const waiting = abortedWhen(run(folder), (_, last) => last?.kind === "note");
    expect(await trainRun(waiting)).toEqual({ status: "interrupted", epochs: [] });
    expect(readdirSync(folder)).toEqual(["lock.json"]);
  });

  it("leaves a folder alone that another process has taken over, or that is gone", async () => {
    const folder = temporaryFolder();
    const record = '{"status": "running", "by": "another"}\n';
    const takenOver = abortedWhen(run(folder), (runs) => {
      if (runs !== 3) return false;
      rmSync(join(folder, "lock.json"));
      writeFileSync(join(folder, "run.json"), record);
      return false;
    });
    await expect(trainRun(takenOver)).rejects.toThrow("another process trains here now");
    expect(textIn(folder, "run.json")).toBe(record);
    expect(readdirSync(join(folder, "checkpoints"))).toEqual([]);

    const gone = join(temporaryFolder(), "run");
    const removed = abortedWhen(run(gone), (runs) => {
      if (runs === 3) rmSync(gone, { recursive: true });
      return false;
    });
    await expect(trainRun(removed)).rejects.toThrow("was it removed or renamed?");
    expect(existsSync(gone)).toBe(false);
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
    const before = timingsIn(folder);
    await trainRun(run(folder));
    const timings = timingsIn(folder);
    expect(timings.slice(0, before.length)).toEqual(before);
    for (const [k, { elapsedMs, imagesPerSecond }] of timings.entries()) {
      expect(elapsedMs).toBeGreaterThan(k === 0 ? 0 : timings[k - 1].elapsedMs);
      expect(imagesPerSecond).toBeGreaterThan(0);
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
    for (const bytes of [0, 1000]) {
      truncateSync(join(folder, "model.safetensors"), bytes);
      expect((await trainRun(run(folder))).test).toEqual(whole.result.test);
      expectSameBits(folder);
    }
  });

  it("says how to go on when the checkpoint of its best weights is damaged or lost", async () => {
    const folder = temporaryFolder();
    // the rate explodes in the third epoch: the best is not the last
    const schedule = { name: "step", milestones: [2], gamma: 3000 };
    const spoilt = () =>
      request(folder, dataset, {
        train: { epochs: 9, optimizer: { name: "sgd", lr: 0.01 }, schedule, earlyStopping: { patience: 2 } },
      });
    await trainRun(spoilt());
    const model = readFileSync(join(folder, "model.safetensors"));
    const path = join(folder, "checkpoints", checkpointName(8));
    const after = `: it holds the best weights: remove ${join(folder, "checkpoints")} to train the run anew`;
    rmSync(join(folder, "model.safetensors"));
    truncateSync(path, 3000);
    await expect(trainRun(spoilt())).rejects.toThrow(after);
    rmSync(path);
    await expect(trainRun(spoilt())).rejects.toThrow(`${path}: is not there${after}`);
    rmSync(join(folder, "checkpoints"), { recursive: true });
    await trainRun(spoilt());
    expect(readFileSync(join(folder, "model.safetensors")).equals(model)).toBe(true);
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
    expect(textIn(folder, "metrics.jsonl")).toBe(textIn(whole, "metrics.jsonl"));
  });

  it("goes on with the instruction set it was begun with, and says so where it cannot be had", async () => {
    const dataset = toyDataset();
    const [whole, folder] = [temporaryFolder(), temporaryFolder()];
    const run = (into: string) => ({ ...request(into, dataset, asked), engine: native });
    const baseline = createEngine({ isa: "baseline", threads: 1 });
    await trainRun({ ...run(whole), engine: baseline });
    await trainRun(abortedWhen({ ...run(folder), engine: baseline }, (runs) => runs === 5));
    const record = JSON.parse(textIn(folder, "run.json"));
    expect(record.environment.engine).toMatch(/^native engine \(baseline, 1 thread\)$/);
    await trainRun(run(folder));
    expect(tensorsIn(lastCheckpoint(folder))).toEqual(tensorsIn(lastCheckpoint(whole)));
    expect(textIn(folder, "run.json")).toContain("native engine (baseline, ");

    record.environment.engine = "native engine (other, 1 thread)";
    writeFileSync(join(folder, "run.json"), JSON.stringify(record));
    const notes: string[] = [];
    await trainRun({
      ...run(folder),
      onProgress: (progress) => progress.kind === "note" && notes.push(progress.text),
    });
    expect(notes).toEqual([
      expect.stringMatching(/^begun with the native engine \(other, .*the last bits may differ/),
    ]);
  });
});
