import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Values } from "../../../src/compile/graph.ts";
import { createEngine } from "../../../src/engine/create.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { referenceEngine } from "../../../src/engine/reference.ts";
import { openSession } from "../../../src/train/session.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import type { RunProgress } from "../../../src/train/types.ts";
import { request, temporaryFolder, tensorsIn, toyDataset, toySettings, wrapRuns } from "./support.ts";

const dataset = toyDataset();
const runFile = (folder: string) => JSON.parse(readFileSync(join(folder, "run.json"), "utf8"));

/** The reference engine, telling what is fed to training programs and what they answer. */
function watchedEngine(seen: (feeds: Values, loss: number) => void): Engine {
  return wrapRuns(referenceEngine, async (run, feeds) => {
    const outputs = await run(feeds);
    if ("rates" in feeds) seen(feeds, outputs["loss"][0]);
    return outputs;
  });
}

describe("trainRun", () => {
  it("learns: the loss falls and unseen images are recognised", async () => {
    const learnable = toyDataset({ train: 48, test: 30 });
    const train = { epochs: 10, batch: 8, optimizer: { name: "adam", lr: 0.02 }, schedule: "cosine" };
    const folder = temporaryFolder();
    const { epochs, figures, test } = await trainRun(request(folder, learnable, { train }));
    expect(epochs[9].trainLoss).toBeLessThan(0.5 * epochs[0].trainLoss);
    expect(epochs[9].validationLoss!).toBeLessThan(0.5 * epochs[0].validationLoss!);
    expect(figures!.testAccuracy).toBeGreaterThan(0.9);
    expect(figures).toMatchObject({ testAccuracy: test!.accuracy, testLoss: test!.loss, epochs: 10 });
    expect(figures).toMatchObject({
      trainLoss: epochs[9].trainLoss,
      validationLoss: epochs[9].validationLoss,
    });
  });

  it("writes the run's folder", async () => {
    const folder = temporaryFolder();
    const asked = request(folder, dataset);
    const { figures, epochs } = await trainRun(asked);
    expect(readdirSync(folder).sort()).toEqual([
      "checkpoints",
      "metrics.jsonl",
      "model.safetensors",
      "run.json",
      "test.json",
      "timings.jsonl",
    ]);
    expect(runFile(folder)).toMatchObject({
      atento: JSON.parse(readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8")).version,
      settings: JSON.parse(JSON.stringify(asked.settings)),
      environment: { engine: referenceEngine.description, node: process.version },
      status: "done",
      figures,
    });
    const lines = readFileSync(join(folder, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(epochs);
    expect(epochs.map(({ epoch, step }) => [epoch, step])).toEqual([
      [1, 4],
      [2, 8],
      [3, 12],
    ]);
  });

  it("trains the smaller last batch, and weighs every batch by its images", async () => {
    const steps: { images: number; loss: number }[] = [];
    const engine = watchedEngine(({ labels }, loss) => steps.push({ images: labels.length, loss }));
    const { epochs } = await trainRun({
      ...request(temporaryFolder(), dataset, { train: { epochs: 1 } }),
      engine,
    });
    expect(steps.map(({ images }) => images)).toEqual([5, 5, 5, 1]);
    const mean = steps.reduce((sum, { images, loss }) => sum + images * loss, 0) / 16;
    expect(epochs[0].trainLoss).toBeCloseTo(mean, 12);
  });

  it("takes a batch larger than the data as all of it", async () => {
    const sizes: number[] = [];
    const engine = watchedEngine(({ labels }) => sizes.push(labels.length));
    await trainRun({ ...request(temporaryFolder(), dataset, { train: { epochs: 2, batch: 100 } }), engine });
    expect(sizes).toEqual([16, 16]);
  });

  it("shows every image once an epoch, in another order and otherwise changed in the next", async () => {
    const epochs: number[][][] = [[], []];
    let step = 0;
    const engine = watchedEngine(({ images, labels }) => {
      const size = images.length / labels.length;
      labels.forEach((label, n) => {
        epochs[Math.floor(step / 4)].push([label, images[n * size], images[n * size + 99]]);
      });
      step++;
    });
    await trainRun({ ...request(temporaryFolder(), dataset, { train: { epochs: 2 } }), engine });
    expect(epochs[1]).not.toEqual(epochs[0]);
    const sorted = epochs.map((images) => images.map(String).sort());
    expect(sorted[1]).toEqual(sorted[0]);
    expect(new Set(sorted[0]).size).toBe(16);
  });

  it("follows its schedule with the optimiser's rates", async () => {
    const rates: number[] = [];
    const engine = watchedEngine((feeds) => rates.push(feeds["rates"][0]));
    const train = { epochs: 3, schedule: { name: "step", every: 1, gamma: 0.5 }, warmup: { steps: 2 } };
    const { epochs } = await trainRun({ ...request(temporaryFolder(), dataset, { train }), engine });
    const expected = [0.05, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025];
    expect(rates).toEqual(expected.map(Math.fround));
    expect(epochs.map(({ lr }) => lr)).toEqual([0.1, 0.05, 0.025]);
  });

  it("reduces the rate on a plateau", async () => {
    // nothing improves by half: the rate falls after every epoch but the first
    const schedule = { name: "plateau", patience: 0, factor: 0.5, threshold: 0.5 };
    const { epochs } = await trainRun(
      request(temporaryFolder(), dataset, { train: { schedule, optimizer: { name: "sgd", lr: 1e-3 } } }),
    );
    expect(epochs.map(({ lr }) => lr)).toEqual([1e-3, 1e-3, 5e-4]);
  });

  it("trains without validation", async () => {
    const { epochs, figures } = await trainRun(
      request(temporaryFolder(), dataset, { data: { validation: 0 } }),
    );
    expect(epochs[0]).not.toHaveProperty("validationLoss");
    expect(figures).not.toHaveProperty("validationAccuracy");
    expect(epochs[0].step).toBe(5);
  });

  it("judges by the test set where that is asked for, and trains on all other images", async () => {
    const { epochs, test } = await trainRun(
      request(temporaryFolder(), dataset, { data: { validation: "test" } }),
    );
    expect(epochs[0].step).toBe(5);
    expect(epochs[2]).toMatchObject({ validationLoss: test!.loss, validationAccuracy: test!.accuracy });
  });

  it("tells its progress: start, epochs, evaluations, and steps at most ten times a second", async () => {
    const progress: RunProgress[] = [];
    const began = performance.now();
    await trainRun({
      ...request(temporaryFolder(), dataset, { train: { epochs: 20 } }),
      onProgress: (p) => progress.push(p),
    });
    const tenths = (performance.now() - began) / 100;
    const steps = progress.flatMap((p) => (p.kind === "step" ? [p] : []));
    expect(progress[0]).toEqual({
      ...{ kind: "start", epochs: 20, stepsPerEpoch: 4, resumedStep: 0 },
      bytes: expect.any(Number),
    });
    expect(progress.filter(({ kind }) => kind === "epoch")).toHaveLength(20);
    expect(progress.some((p) => p.kind === "evaluate" && p.total === 6)).toBe(true);
    expect(steps.length).toBeGreaterThan(0);
    expect(steps.length).toBeLessThanOrEqual(tenths + 1);
    expect(steps[0]).toMatchObject({ epoch: 1, step: 1, stepsPerEpoch: 4 });
    for (const { loss, accuracy, imagesPerSecond, remainingMs } of steps) {
      expect(loss).toBeGreaterThan(0);
      expect(accuracy).toBeGreaterThanOrEqual(0);
      expect(imagesPerSecond).toBeGreaterThan(0);
      expect(remainingMs).toBeGreaterThan(0);
    }
  });
});

describe("early stopping", () => {
  // the rate explodes in the third epoch
  const schedule = { name: "step", milestones: [2], gamma: 3000 };
  const train = { epochs: 9, optimizer: { name: "sgd", lr: 0.01 }, schedule };

  it("ends after its patience, with the best epoch's weights and figures", async () => {
    const folder = temporaryFolder();
    const { epochs, figures } = await trainRun(
      request(folder, dataset, { train: { ...train, earlyStopping: { patience: 2 } } }),
    );
    expect(epochs).toHaveLength(4);
    const best = epochs[1];
    expect(Math.min(...epochs.map(({ validationLoss }) => validationLoss!))).toBe(best.validationLoss);
    expect(figures).toMatchObject({
      validationLoss: best.validationLoss,
      trainLoss: best.trainLoss,
      epochs: 4,
    });
    const model = tensorsIn(join(folder, "model.safetensors"));
    const checkpoints = readdirSync(join(folder, "checkpoints")).sort();
    expect(checkpoints).toEqual(
      [8, 12, 16].map((step) => `step-${String(step).padStart(9, "0")}.safetensors`),
    );
    const kept = tensorsIn(join(folder, "checkpoints", checkpoints[0]));
    for (const [name, values] of model) expect(kept.get(name)).toEqual(values);
    expect(tensorsIn(join(folder, "checkpoints", checkpoints[2])).get("fc.weight")).not.toEqual(
      model.get("fc.weight"),
    );
  });

  it("keeps the last weights where that is asked for", async () => {
    const folder = temporaryFolder();
    const earlyStopping = { patience: 1, restoreBest: false };
    const { epochs, figures } = await trainRun(
      request(folder, dataset, { train: { ...train, earlyStopping } }),
    );
    expect(epochs).toHaveLength(3);
    expect(figures!.validationLoss).toBe(epochs[2].validationLoss);
    const last = tensorsIn(join(folder, "checkpoints/step-000000012.safetensors"));
    for (const [name, values] of tensorsIn(join(folder, "model.safetensors")))
      expect(last.get(name)).toEqual(values);
  });

  it("cannot watch what is not measured", async () => {
    const earlyStopping = { monitor: "validationLoss" };
    const folder = temporaryFolder();
    const asked = request(folder, dataset, { train: { earlyStopping }, data: { validation: 0 } });
    await expect(trainRun(asked)).rejects.toThrow(
      /train.earlyStopping.monitor: validationLoss is not measured/,
    );
    // nothing that would stand in the way of the corrected run
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("a loss that is no number any more", () => {
  it("ends the run with the step, and keeps the last checkpoint", async () => {
    const folder = temporaryFolder();
    const schedule = { name: "step", milestones: [1], gamma: 1e38 };
    const asked = request(folder, dataset, { train: { schedule, optimizer: { name: "sgd", lr: 1 } } });
    await expect(trainRun(asked)).rejects.toMatchObject({
      name: "Diverged",
      message: expect.stringMatching(
        /the loss became (NaN|Infinity) in step [23] of epoch 2, at the rate 1e\+38; layer \S+ went first: its \w+ is no longer finite: lower/,
      ),
    });
    expect(readdirSync(join(folder, "checkpoints"))).toEqual(["step-000000004.safetensors"]);
    expect(runFile(folder).status).toBe("failed");
  });

  /** After a step at this rate, a variable holds this value. */
  const spoiled = (engine: Engine, rate: number, name: string, value: number) =>
    wrapRuns(engine, async (run, feeds, store) => {
      const outputs = await run(feeds);
      if (feeds["rates"]?.[0] === Math.fround(rate)) store.write(name, store.read(name).fill(value));
      return outputs;
    });
  // a rate of its own for each step of the first two epochs
  const rising = { optimizer: { name: "sgd", lr: 0.01 }, warmup: { steps: 8 }, epochs: 3 };
  const failing = async (engine: Engine) => {
    const folder = temporaryFolder();
    const error = await trainRun({ ...request(folder, dataset, { train: rising }), engine }).then(
      () => expect.unreachable("it should have failed"),
      ({ message }: Error) => message.slice(folder.length + 2),
    );
    return { folder, error };
  };
  const advice =
    "lower train.optimizer.lr or add train.warmup, and train in another folder; the last good checkpoint is kept";

  it("names the layer whose values went first", async () => {
    const name = "layer1.0.conv2.weight";
    const { folder, error } = await failing(spoiled(referenceEngine, 0.0075, name, Number.POSITIVE_INFINITY));
    expect(error).toBe(
      "the loss became NaN in step 3 of epoch 2, at the rate 0.00875; " +
        `layer layer1.0.conv2 went first: its weight is no longer finite: ${advice}`,
    );
    expect(readdirSync(join(folder, "checkpoints"))).toEqual(["step-000000004.safetensors"]);
  });

  const native = createEngine();
  it.skipIf(native.name !== "native")("names the layer whose output went first", async () => {
    const { error } = await failing(spoiled(native, 0.00625, "layer1.0.conv3.weight", 3e38));
    expect(error).toContain("in step 2 of epoch 2");
    expect(error).toContain("; layer layer1.0.conv3 went first: its output is no longer finite: ");
  });

  it("is found in an evaluation, too", async () => {
    const engine = spoiled(referenceEngine, 0.005, "bn1.running_var", Number.NaN);
    const { error } = await failing(engine);
    expect(error).toBe(
      "the validation loss became NaN after step 4; " +
        `layer bn1 went first: its running_var is no longer finite: ${advice}`,
    );
  });

  it("never gets into a checkpoint", async () => {
    const engine = spoiled(referenceEngine, 0.005, "fc.weight.momentum", Number.NEGATIVE_INFINITY);
    const { folder, error } = await failing(engine);
    expect(error).toMatch(/^fc\.weight\.momentum is no longer finite after step 4: lower/);
    expect(readdirSync(join(folder, "checkpoints"))).toEqual([]);
  });
});

describe("variants of one seed", () => {
  const plain = toySettings(dataset);
  const se = toySettings(dataset, {
    variant: "se",
    model: { attention: "se", attentionOptions: { reduction: 2 } },
  });
  const other = toySettings(dataset, { seed: 2 });
  const open = (settings: typeof plain) => openSession(settings, dataset, referenceEngine);

  it("begin with the same weights where they share them, and see the same batches", async () => {
    const [a, b] = [open(plain), open(se)];
    const shared = [...a.store.variables.keys()];
    expect(shared.every((name) => b.store.variables.has(name))).toBe(true);
    expect(b.store.variables.size).toBeGreaterThan(a.store.variables.size);
    for (const name of shared) expect(b.store.read(name)).toEqual(a.store.read(name));
    expect(await b.loader.batch(1, 2)).toEqual(await a.loader.batch(1, 2));
    await Promise.all([a.close(), b.close()]);
  });

  it("differ from those of another seed in weights and batches, not in the images held back", async () => {
    const [a, b] = [open(plain), open(other)];
    expect(b.store.read("conv1.weight")).not.toEqual(a.store.read("conv1.weight"));
    expect(await b.loader.batch(0, 0)).not.toEqual(await a.loader.batch(0, 0));
    expect(await b.validation!.loader.batch(0, 0)).toEqual(await a.validation!.loader.batch(0, 0));
    expect(b.normalization).toEqual(a.normalization);
    await Promise.all([a.close(), b.close()]);
  });
});

describe("what cannot be trained is refused in one line", () => {
  const refused = (asked: Parameters<typeof trainRun>[0]) =>
    trainRun(asked).then(
      () => expect.unreachable("it should have been refused"),
      (error: Error) => {
        expect(error).toMatchObject({ name: expect.stringMatching(/UserError|ShapeError/) });
        expect(error.message).not.toContain("\n");
        return error.message;
      },
    );

  it("a folder of another run, listing the differences", async () => {
    const folder = temporaryFolder();
    await trainRun(request(folder, dataset, { train: { epochs: 1 } }));
    const asked = request(folder, dataset, {
      seed: 2,
      model: { attention: "eca" },
      train: { epochs: 1, batch: 7, earlyStopping: {} },
    });
    const message = await refused(asked);
    expect(message).toContain(`${folder}: holds another run: `);
    expect(message).toContain("seed is 1 there, 2 asked for");
    expect(message).toContain('model.attention.name is "none" there, "eca" asked for');
    expect(message).toContain("train.batch is 5 there, 7 asked for");
    expect(message).toMatch(/train.earlyStopping is not set there, .*"patience":10/);
    expect(message).toMatch(/choose another --out, or remove the folder$/);
  });

  it("a folder of a run on other data", async () => {
    const folder = temporaryFolder();
    await trainRun(request(folder, dataset, { train: { epochs: 1 } }));
    expect(await refused(request(folder, toyDataset({ seed: 2 }), { train: { epochs: 1 } }))).toMatch(
      /data.fingerprint is/,
    );
  });

  it("fewer epochs, or more under a schedule that spans them", async () => {
    const folder = temporaryFolder();
    await trainRun(request(folder, dataset, { train: { epochs: 2, schedule: "cosine" } }));
    const epochs = (count: number) =>
      refused(request(folder, dataset, { train: { epochs: count, schedule: "cosine" } }));
    expect(await epochs(1)).toContain("train.epochs is 2 there, 1 asked for");
    expect(await epochs(3)).toMatch(
      /train.epochs is 2 there, 3 asked for \(the rates of schedule cosine depend on the number of epochs\): choose/,
    );
  });

  it("a folder whose run.json is none", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "run.json");
    mkdirSync(path);
    expect(await refused(request(folder, dataset))).toMatch(
      /run.json: cannot be read \(EISDIR.*\): check its permissions and the disk$/,
    );
    rmdirSync(path);
    writeFileSync(path, '{"status": "done"');
    expect(await refused(request(folder, dataset))).toMatch(
      /run.json: is no record of a run \(it is no JSON\)/,
    );
    rmSync(path);
    await trainRun(request(folder, dataset, { train: { epochs: 1 } }));
    const known = runFile(folder);
    const damage: [(run: typeof known) => void, RegExp][] = [
      [(run) => delete run.settings, /\(settings: /],
      [(run) => delete run.settings.model.widths, /\(settings\.model\.widths: /],
      [(run) => run.settings.model.depths.push(3), /\(settings\.model\.widths: 1 given for 2 depths\)/],
      [(run) => void (run.settings.model.depths = [1e9]), /\(settings\.model\.depths\.0: /],
      [(run) => void (run.settings.train.batch = "5"), /\(settings\.train\.batch: /],
      [(run) => void (run.settings.data.classes = null), /\(settings\.data\.classes: /],
      [(run) => void (run.figures.testLoss = null), /\(figures\.testLoss: /],
    ];
    for (const [change, message] of damage) {
      const run = structuredClone(known);
      change(run);
      writeFileSync(path, JSON.stringify(run));
      expect(await refused(request(folder, dataset, { train: { epochs: 1 } }))).toMatch(message);
    }
  });

  it("data that are not those of the settings", async () => {
    const folder = join(temporaryFolder(), "new");
    const with_ = (data: object) => refused(request(folder, dataset, { data }));
    expect(await with_({ fingerprint: "other" })).toMatch(/is not the data set it was set up with/);
    expect(await with_({ image: [16, 8] })).toMatch(/expects images of 16×8 .*, data toy has 8×8/);
    expect(await with_({ classes: ["a", "b", "c"] })).toMatch(
      /expects the classes a, b, c, data toy has red, green, blue/,
    );
    expect(await with_({ validation: 22 })).toMatch(/validation: 22 images asked for/);
    expect(readdirSync(join(folder, ".."))).toEqual([]);
  });

  it("a model of other classes, and a warm-up longer than the training", async () => {
    const asked = request(temporaryFolder(), dataset, { train: { warmup: { steps: 12 } } });
    expect(await refused(asked)).toMatch(/train.warmup: 12 steps are not shorter than the training's 12/);
    const { settings } = asked;
    const model = { ...settings.model, classes: 4 };
    expect(await refused({ ...asked, settings: { ...settings, model } })).toMatch(
      /model has 4 classes, data toy has 3/,
    );
  });

  it("a place where nothing can be written", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "file"), "");
    const message = await refused(request(join(folder, "file/run"), dataset));
    expect(message).toMatch(/file\/run: cannot be written: a part of the path is a file/);
  });

  it("a checkpoint that cannot be written, with its path, soon", async () => {
    const folder = temporaryFolder();
    let epochs = 0;
    const onProgress = ({ kind }: RunProgress) => {
      if (kind !== "epoch" || ++epochs > 1) return;
      renameSync(join(folder, "checkpoints"), join(folder, "away"));
      writeFileSync(join(folder, "checkpoints"), "");
    };
    const asked = { ...request(folder, dataset, { train: { epochs: 50 } }), onProgress };
    expect(await refused(asked)).toMatch(/step-00000000\d.safetensors: cannot be written: /);
    expect(epochs).toBeLessThanOrEqual(2);
    expect(runFile(folder).status).toBe("failed");
  });
});

it("goes on for more epochs where the rates do not depend on their number", async () => {
  const folder = temporaryFolder();
  const two = await trainRun(request(folder, dataset, { train: { epochs: 2 } }));
  const three = await trainRun(request(folder, dataset, { train: { epochs: 3 } }));
  expect(three.epochs.slice(0, 2)).toEqual(two.epochs);
  const atOnce = temporaryFolder();
  await trainRun(request(atOnce, dataset, { train: { epochs: 3 } }));
  expect(tensorsIn(join(folder, "model.safetensors"))).toEqual(tensorsIn(join(atOnce, "model.safetensors")));
  expect(runFile(folder).settings.train.epochs).toBe(3);
});
