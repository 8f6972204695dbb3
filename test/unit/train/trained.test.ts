import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceEngine } from "../../../src/engine/reference.ts";
import {
  floatsOf,
  type NewTensor,
  readSafetensors,
  writeSafetensors,
} from "../../../src/formats/safetensors.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { evaluateRun } from "../../../src/train/evaluate-run.ts";
import { loadTrained } from "../../../src/train/trained.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import type { RunSettings, TrainResult } from "../../../src/train/types.ts";
import { makeTemporaryFolder, request, temporaryFolder, toyDataset } from "./support.ts";

const dataset = toyDataset();
const engine = referenceEngine;
const folder = makeTemporaryFolder();
let settings: RunSettings;
let result: TrainResult;

beforeAll(async () => {
  const model = { attention: "se", attentionOptions: { reduction: 4 } };
  const asked = request(folder, dataset, { variant: "se", seed: 3, model, train: { epochs: 2 } });
  settings = asked.settings;
  result = await trainRun(asked);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The run's model file with other tensors or metadata. */
function changed(
  tensors: (all: Map<string, NewTensor>) => void,
  metadata: (all: Record<string, string>) => void = () => undefined,
): string {
  const path = join(temporaryFolder(), "model.safetensors");
  const file = readSafetensors(readFileSync(join(folder, "model.safetensors")));
  const copy = new Map(
    [...file.tensors].map(([name, x]): [string, NewTensor] => [
      name,
      { shape: x.shape, values: floatsOf(x) },
    ]),
  );
  const facts = { ...file.metadata };
  tensors(copy);
  metadata(facts);
  writeFileSync(path, writeSafetensors(copy, facts));
  return path;
}
const same = () => undefined;
const ones = (...shape: number[]): NewTensor => ({
  shape,
  values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
});

describe("loadTrained", () => {
  it("gives back the model with all that goes with it, from the folder or the file", async () => {
    const trained = await loadTrained(folder);
    expect(trained).toMatchObject({
      model: settings.model,
      classes: ["red", "green", "blue"],
      image: [8, 8],
      data: settings.data,
      variant: "se",
      seed: 3,
    });
    expect(await loadTrained(join(folder, "model.safetensors"))).toEqual(trained);
  });

  it("holds parameters and statistics under torchvision's and timm's names, no optimiser's slots", async () => {
    const { weights } = await loadTrained(folder);
    const block = ["conv1.weight", "conv2.weight", "conv3.weight", "downsample.0.weight"];
    const gate = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"].map((name) => `se.${name}`);
    const norms = ["bn1", "bn2", "bn3", "downsample.1"].flatMap(normOf);
    const expected = [
      ...["conv1.weight", ...normOf("bn1"), "fc.weight", "fc.bias"],
      ...[...block, ...gate, ...norms].map((name) => `layer1.0.${name}`),
    ];
    expect([...weights.keys()].sort()).toEqual(expected.sort());
  });

  const normOf = (name: string) =>
    ["weight", "bias", "running_mean", "running_var"].map((part) => `${name}.${part}`);

  it("takes PyTorch's batch counters for what they are", async () => {
    const path = changed((all) =>
      all.set("bn1.num_batches_tracked", { shape: [], dtype: "I64", values: BigInt64Array.of(7n) }),
    );
    expect((await loadTrained(path)).weights).toEqual((await loadTrained(folder)).weights);
  });

  const refused: [string, () => string, RegExp][] = [
    ["no file", () => join(folder, "none"), /none: there is no such run or model file: expected/],
    ["an empty folder", () => temporaryFolder(), /holds no run: expected a folder with run.json/],
    [
      "a run that is not finished",
      () => {
        const copy = temporaryFolder();
        const run = JSON.parse(readFileSync(join(folder, "run.json"), "utf8"));
        writeFileSync(join(copy, "run.json"), JSON.stringify({ ...run, status: "interrupted" }));
        return copy;
      },
      /the run is not finished \(interrupted\): atento resume/,
    ],
    [
      "something else",
      () => {
        const path = join(temporaryFolder(), "x.safetensors");
        writeFileSync(path, "hello, world");
        return path;
      },
      /x.safetensors: no valid safetensors file/,
    ],
    [
      "no architecture",
      () => changed(same, (facts) => void delete facts["architecture"]),
      /has no architecture/,
    ],
    [
      "an attention module nobody knows",
      () =>
        changed(same, (facts) => {
          facts["architecture"] = facts["architecture"].replace('"name":"se"', '"name":"see"');
        }),
      /unknown attention "see": did you mean se\?/,
    ],
    [
      "another number of classes",
      () =>
        changed(same, (facts) => {
          facts["classes"] = '["a","b"]';
        }),
      /architecture has 3 classes, 2 are named/,
    ],
    [
      "metadata that are none",
      () =>
        changed(same, (facts) => {
          facts["normalization"] = '{"mean":[0,0],"std":[1,1,1]}';
        }),
      /metadata normalization.mean: /,
    ],
  ];
  it.each(refused)("refuses %s", async (_, make, message) => {
    const error = await loadTrained(make()).catch((error: Error) => error);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toMatch(message);
  });

  it("lists all tensors that do not fit", async () => {
    const path = changed((all) => {
      all.delete("conv1.weight");
      all.set("fc.weight", ones(5, 8));
      all.set("fc.bias", { shape: [3], dtype: "I64", values: new BigInt64Array(3) });
      all.set("layer2.0.conv1.weight", ones(1));
    });
    await expect(loadTrained(path)).rejects.toThrow(
      "its tensors do not fit the architecture: conv1.weight is missing; fc.weight has shape [5,8], expected [3,8]; " +
        "fc.bias holds I64, expected floats; layer2.0.conv1.weight is unexpected",
    );
  });

  it("lists every one of many", async () => {
    const path = changed((all) => {
      for (const name of [...all.keys()].filter((key) => key.startsWith("layer1"))) all.delete(name);
    });
    const { message } = (await loadTrained(path).catch((error) => error)) as Error;
    expect(message.match(/is missing/g)).toHaveLength(24);
  });
});

describe("evaluateRun", () => {
  it("comes to the figures of the run itself", async () => {
    const test = await evaluateRun({ path: folder, dataset, engine, batch: 5 });
    expect(test).toEqual(result.test);
    const { loss, accuracy } = await evaluateRun({
      path: folder,
      dataset,
      engine,
      part: "validation",
      batch: 5,
    });
    const { validationLoss, validationAccuracy } = result.figures!;
    expect({ loss, accuracy }).toEqual({ loss: validationLoss, accuracy: validationAccuracy });
  });

  it("does not depend on the batch", async () => {
    const { loss, ...rest } = await evaluateRun({ path: folder, dataset, engine, batch: 64 });
    const { loss: expected, ...others } = result.test!;
    expect(loss).toBeCloseTo(expected, 6);
    expect(rest).toEqual(others);
  });

  it("evaluates what was trained on, without what was held back", async () => {
    const { count } = await evaluateRun({ path: folder, dataset, engine, part: "train" });
    expect(count).toBe(16);
  });

  it("refuses data of other classes or sizes, and parts of data that it was not trained on", async () => {
    const other = { ...dataset, classes: ["red", "green", "violet"] };
    await expect(evaluateRun({ path: folder, dataset: other, engine })).rejects.toThrow(
      /expects the classes red, green, blue/,
    );
    const larger = { ...dataset, height: 9 };
    await expect(evaluateRun({ path: folder, dataset: larger, engine })).rejects.toThrow(
      /expects images of 8×8/,
    );
    const later = toyDataset({ seed: 2 });
    expect((await evaluateRun({ path: folder, dataset: later, engine })).count).toBe(9);
    await expect(evaluateRun({ path: folder, dataset: later, engine, part: "validation" })).rejects.toThrow(
      /which images served for validation is known only of the data it was trained on/,
    );
  });

  it("refuses to validate a run that held nothing back", async () => {
    const path = changed(same, (facts) => {
      facts["data"] = JSON.stringify({ ...settings.data, validation: 0 });
    });
    await expect(evaluateRun({ path, dataset, engine, part: "validation" })).rejects.toThrow(
      /nothing was held back/,
    );
  });
});
