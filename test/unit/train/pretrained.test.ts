import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Pretrained } from "../../../src/train/adopt.ts";
import { loadTrained } from "../../../src/train/trained.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import type { RunProgress, TrainRequest } from "../../../src/train/types.ts";
import { abortedWhen, request, temporaryFolder, tensorsIn, toyDataset } from "./support.ts";

const dataset = toyDataset();
const fingerprint = { file: "start.safetensors", sha256: "a".repeat(64) };

/** Weights of a run that was trained, with shapes. */
async function trainedTensors(model?: object): Promise<Pretrained> {
  const folder = temporaryFolder();
  const asked = request(folder, dataset, { model, seed: 9, train: { epochs: 1 } });
  await trainRun(asked);
  const shapes = new Map<string, readonly number[]>();
  const { weights } = await loadTrained(folder);
  const file = readFileSync(join(folder, "model.safetensors"));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString());
  for (const name of weights.keys()) shapes.set(name, header[name].shape);
  return new Map([...weights].map(([name, values]) => [name, { shape: shapes.get(name)!, values }]));
}

function withPretrained(asked: TrainRequest, tensors: Pretrained, notes: string[] = []): TrainRequest {
  return {
    ...asked,
    settings: { ...asked.settings, pretrained: fingerprint },
    pretrained: async () => tensors,
    onProgress: (progress: RunProgress) => {
      if (progress.kind === "note") notes.push(progress.text);
    },
  };
}

const model = (folder: string) => tensorsIn(join(folder, "model.safetensors"));
/** A rate so small that float32 weights of ordinary size stay as they are. */
const still = { optimizer: { name: "sgd", lr: 1e-30 }, epochs: 1 };

describe("a run that starts from pretrained weights", () => {
  it("takes them by name and shape, makes the rest from its seed, and says so", async () => {
    const tensors = new Map(await trainedTensors());
    const { values } = tensors.get("fc.weight")!;
    tensors.set("fc.weight", { shape: [2, values!.length / 2], values });
    tensors.set("elsewhere.weight", { shape: [1], values: Float32Array.of(1) });
    tensors.set("bn1.num_batches_tracked", { shape: [] });
    tensors.set("bn1.bias", { shape: tensors.get("bn1.bias")!.shape });
    const [folder, fresh] = [temporaryFolder(), temporaryFolder()];
    const notes: string[] = [];
    await trainRun(
      withPretrained(request(folder, dataset, { model: { attention: "eca" }, train: still }), tensors, notes),
    );
    await trainRun(request(fresh, dataset, { model: { attention: "eca" }, train: still }));
    const [started, own] = [model(folder), model(fresh)];
    expect(started.get("layer1.0.conv2.weight")).toEqual(tensors.get("layer1.0.conv2.weight")!.values);
    expect(started.get("layer1.0.conv2.weight")).not.toEqual(own.get("layer1.0.conv2.weight"));
    for (const name of ["fc.weight", "layer1.0.se.conv.weight"])
      expect(started.get(name)).toEqual(own.get(name));
    expect(notes).toEqual([
      "pretrained start.safetensors: 25 tensors taken; left: bn1.bias, fc.weight, elsewhere.weight; " +
        "made new: bn1.bias, layer1.0.se.conv.weight, fc.weight",
    ]);
  });

  it("that is interrupted ends in the bits of one that was not, without asking for the weights again", async () => {
    const tensors = await trainedTensors();
    const [whole, parted] = [temporaryFolder(), temporaryFolder()];
    await trainRun(withPretrained(request(whole, dataset), tensors));
    const asked = withPretrained(request(parted, dataset), tensors);
    const { status } = await trainRun(abortedWhen(asked, (runs) => runs === 5));
    expect(status).toBe("interrupted");
    const gone = () => Promise.reject(new Error("the file is gone"));
    expect((await trainRun({ ...asked, pretrained: gone })).status).toBe("done");
    const [a, b] = [whole, parted].map((folder) => readFileSync(join(folder, "model.safetensors")));
    expect(a.equals(b)).toBe(true);
  });

  it("is not gone on with other weights, but with the same that lie elsewhere", async () => {
    const tensors = await trainedTensors();
    const folder = temporaryFolder();
    const asked = withPretrained(request(folder, dataset), tensors);
    await trainRun(abortedWhen(asked, (runs) => runs === 5));
    const other = { ...asked.settings, pretrained: { ...fingerprint, sha256: "b".repeat(64) } };
    await expect(trainRun({ ...asked, settings: other })).rejects.toThrow(
      /holds another run: pretrained\.sha256 is/,
    );
    const { pretrained: _, ...without } = asked.settings;
    await expect(trainRun({ ...asked, settings: without })).rejects.toThrow(
      /holds another run: pretrained is/,
    );
    const moved = { ...asked.settings, pretrained: { ...fingerprint, file: "elsewhere" } };
    expect((await trainRun({ ...asked, settings: moved })).status).toBe("done");
  });

  it("is refused when the file has nothing for it", async () => {
    const tensors: Pretrained = new Map([["x", { shape: [1], values: Float32Array.of(1) }]]);
    const asked = withPretrained(request(temporaryFolder(), dataset), tensors);
    await expect(trainRun(asked)).rejects.toThrow(
      /start\.safetensors: none of its 1 tensors is a kernel of the model, which has conv1\.weight \[4,3,3,3\]/,
    );
  });
});

describe("frozen layers", () => {
  it("keep weights and statistics, others do not", async () => {
    const [folder, start] = [temporaryFolder(), temporaryFolder()];
    await trainRun(request(start, dataset, { train: still }));
    await trainRun(request(folder, dataset, { train: { freeze: ["stem", "layer1.0.bn2"] } }));
    const [before, after] = [model(start), model(folder)];
    const frozen = [...after.keys()].filter((name) => /^(conv1|bn1|layer1\.0\.bn2)\./.test(name));
    expect(frozen).toContain("bn1.running_mean");
    for (const [name, values] of after) {
      if (/running|num_batches/.test(name)) continue;
      const moved = values.some((value, i) => Math.abs(value - before.get(name)![i]) > 1e-20);
      expect(moved, name).toBe(!frozen.includes(name));
    }
    const statistics = [...after].filter(([name]) => /running_mean/.test(name));
    for (const [name, values] of statistics)
      expect(
        values.every((x) => x === 0),
        name,
      ).toBe(frozen.includes(name));
  });

  it("normalise with their running statistics, as in evaluation", async () => {
    // all but the last layer frozen: a step of training then sees the logits of evaluation
    const folder = temporaryFolder();
    const { epochs } = await trainRun(
      request(folder, dataset, {
        data: { validation: 0 },
        train: { ...still, freeze: ["stem", "layer1"], augment: {} },
      }),
    );
    const { evaluateRun } = await import("../../../src/train/evaluate-run.ts");
    const asked = request(folder, dataset);
    const { loss } = await evaluateRun({ path: folder, dataset, engine: asked.engine, part: "train" });
    expect(epochs[0].trainLoss).toBeCloseTo(loss, 5);
  });

  it("that do not exist, or leave nothing to train, are refused", async () => {
    const of = (freeze: string[]) => trainRun(request(temporaryFolder(), dataset, { train: { freeze } }));
    await expect(of(["layer7"])).rejects.toThrow(/no layer "layer7": there are stem, conv1, bn1, layer1, fc/);
    await expect(of(["stem", "layer1", "fc"])).rejects.toThrow(/stem, layer1, fc leave nothing to train/);
  });
});

describe("bodyRate", () => {
  it("is the rate of all but the last layer, as a share: one step of SGD moves them by that share", async () => {
    const once = { epochs: 1, batch: 16, optimizer: { name: "sgd", lr: 0.01 } };
    const ended = async (train: object) => {
      const folder = temporaryFolder();
      await trainRun(request(folder, dataset, { train }));
      return model(folder);
    };
    const [start, full, tenth] = [
      await ended({ ...once, ...still, batch: 16 }),
      await ended(once),
      await ended({ ...once, bodyRate: 0.1 }),
    ];
    const moved = (to: Map<string, Float32Array>, name: string) =>
      to.get(name)!.reduce((sum, x, i) => sum + (x - start.get(name)![i]) ** 2, 0) ** 0.5;
    for (const name of ["conv1.weight", "layer1.0.conv3.weight", "layer1.0.bn1.bias"]) {
      expect(moved(full, name)).toBeGreaterThan(1e-5);
      expect(moved(tenth, name) / moved(full, name)).toBeCloseTo(0.1, 2);
    }
    for (const name of ["fc.weight", "fc.bias"]) expect(tenth.get(name)).toEqual(full.get(name));
  });

  it("scales Adam's decoupled weight decay along", async () => {
    const train = { epochs: 1, optimizer: { name: "adamw", lr: 1e-3, weightDecay: 0.5 }, bodyRate: 0.5 };
    const folder = temporaryFolder();
    expect((await trainRun(request(folder, dataset, { train }))).status).toBe("done");
  });
});
