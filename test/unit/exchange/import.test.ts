import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attentions } from "../../../src/attention/registry.ts";
import { referenceEngine } from "../../../src/engine/reference.ts";
import { completeExports, exportModel } from "../../../src/exchange/export.ts";
import { formats, loadModel } from "../../../src/exchange/formats.ts";
import { importModel } from "../../../src/exchange/import.ts";
import { fingerprintOf, loadPretrained } from "../../../src/exchange/pretrained.ts";
import {
  floatsOf,
  type NewTensor,
  readSafetensors,
  writeSafetensors,
} from "../../../src/formats/safetensors.ts";
import { type ModelOptions, resolveModel } from "../../../src/models/options.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { type Trained, writeTrained } from "../../../src/train/trained.ts";
import type { RunData } from "../../../src/train/types.ts";
import { difference } from "../../support/compare.ts";
import { lookAt } from "../../support/maps.ts";
import { madeUp } from "../../support/trained.ts";
import { normal } from "../../support/values.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "atento-exchange-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]) => join(folder, ...path);

const small = { depths: [1, 2], widths: [16, 24], stem: "cifar" };
const image = [12, 10] as const;
const made = (options: ModelOptions, classes = 4) =>
  madeUp(resolveModel({ ...small, ...options }, classes), image);
const logitsOf = async (trained: Trained) =>
  (await lookAt(trained, referenceEngine, normal([2, 3, ...image], "x"), "layer1")).logits;
const sameLogits = async (a: Trained, b: Trained) =>
  expect(difference(await logitsOf(a), await logitsOf(b), [2, a.model.classes], 1e-5)).toBeUndefined();

/** What a model may have been trained on. */
const data: RunData = {
  source: { source: "shapes", train: 64, test: 16, size: 32 },
  ...{ name: "shapes", fingerprint: "f", classes: ["a", "b", "c", "d"], image: [12, 10] },
  ...{ validation: 4, normalize: "channel" },
};

async function refusal(job: Promise<unknown>): Promise<string> {
  const error = await job.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

describe.each([...formats.values()])("$name", (format) => {
  it.each(["none", "se", "cbam", "eca"])("gives back a model with attention %s", async (attention) => {
    const origin = { file: "theirs.safetensors", sha256: "a".repeat(64) };
    const trained = { ...made({ name: "resnet14", expansion: 4, attention }), origin, data };
    const path = at(`${format.name}-${attention}`);
    const files = await exportModel(trained, path, [format]);
    expect(files.map((file) => file.slice(path.length + 1))).toEqual(format.files.map(({ name }) => name));
    const back = await loadModel(files[0]);
    const { weights: _, ...facts } = trained;
    expect(back).toMatchObject(facts);
    await sameLogits(back, trained);
  });

  it("writes equal bytes for equal models", async () => {
    const trained = made({ name: "resnet18", attention: "se" });
    const [first] = await exportModel(trained, at(`${format.name}-first`), [format]);
    const [second] = await exportModel(await loadModel(first), at(`${format.name}-second`), [format]);
    expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
  });
});

describe("an ONNX file", () => {
  const written = async () => {
    const [path] = await exportModel(made({ name: "resnet18" }), at("onnx-file"), [formats.get("onnx")!]);
    return readFileSync(path);
  };

  it("that is cut off, or is none, or of somebody else is refused", async () => {
    const whole = await written();
    writeFileSync(at("cut.onnx"), whole.subarray(0, whole.length - 100));
    expect(await refusal(loadModel(at("cut.onnx")))).toMatch(/cut\.onnx: no ONNX model/);
    writeFileSync(at("text.onnx"), "hello, world");
    expect(await refusal(loadModel(at("text.onnx")))).toMatch(
      /text\.onnx: no ONNX model|has no architecture/,
    );
    writeFileSync(at("empty.onnx"), "");
    expect(await refusal(loadModel(at("empty.onnx")))).toMatch(
      /of ONNX files only those that atento export wrote/,
    );
  });

  it("whose tensors do not fit is refused with the list of them", async () => {
    const text = (await written()).toString("latin1");
    // the same length: an unknown name, and one that is missing
    writeFileSync(at("renamed.onnx"), text.replaceAll("layer1.0.bn1.bias", "layer1.0.bn1.bios"), "latin1");
    expect(await refusal(loadModel(at("renamed.onnx")))).toMatch(
      /its tensors do not fit the architecture: layer1\.0\.bn1\.bias is missing; layer1\.0\.bn1\.bios is unexpected$/,
    );
  });
});

describe("a state dict", () => {
  /** A file with the names of torchvision and timm and nothing else, as these write it. */
  function stateDict(trained: Trained, change: (all: Map<string, NewTensor>) => void = () => {}): string {
    const path = at("dict.safetensors");
    const { tensors } = readSafetensors(readFileSync(at("ours.safetensors")));
    const copy = new Map(
      [...tensors].flatMap(([name, x]): [string, NewTensor][] =>
        x.dtype === "F32" ? [[name, { shape: x.shape, values: floatsOf(x) }]] : [],
      ),
    );
    expect(copy.size).toBe(trained.weights.size);
    copy.set("bn1.num_batches_tracked", { shape: [], dtype: "I64", values: BigInt64Array.of(9n) });
    change(copy);
    writeFileSync(path, writeSafetensors(copy));
    return path;
  }

  const gates = [...attentions.values()].flatMap(({ name, options, choices = {} }) => [
    { attention: name },
    ...Object.entries(choices).flatMap(([key, all]) =>
      all.map((value) => ({ attention: name, attentionOptions: { [key]: value } })),
    ),
    ...("bias" in options ? [{ attention: name, attentionOptions: { bias: false, reduction: 3 } }] : []),
    { attention: name, placement: "identity" as const },
  ]);
  it.each(
    [{ attention: "none" }, ...gates].flatMap((gate) =>
      ["resnet14", "resnet18"].map((name) => ({ name, ...gate })),
    ),
  )("tells its architecture: %j", async (options) => {
    const trained = made(options);
    await writeTrained(trained, at("ours.safetensors"));
    const {
      trained: taken,
      left,
      taken: names,
    } = await importModel(stateDict(trained), { image, stem: "cifar" });
    expect({ ...taken.model, attention: undefined }).toEqual({ ...trained.model, attention: undefined });
    expect(left).toEqual(["bn1.num_batches_tracked"]);
    expect([...names].sort()).toEqual([...trained.weights.keys()].sort());
    expect(taken.weights).toEqual(trained.weights);
    await sameLogits(taken, trained);
  });

  it("becomes a model of ours that says where it is from", async () => {
    const trained = made({ name: "resnet18", attention: "se" });
    await writeTrained(trained, at("ours.safetensors"));
    const path = stateDict(trained);
    const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
    const classes = ["a", "b", "c", "d"];
    const imported = await importModel(path, { image, classes });
    await writeTrained(imported.trained, at("imported.safetensors"));
    expect(await loadModel(at("imported.safetensors"))).toMatchObject({
      origin: { file: "dict.safetensors", sha256 },
      classes,
      variant: "dict",
      normalization: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    });
    expect((await importModel(path, { image })).trained.classes).toEqual(
      [0, 1, 2, 3].map((k) => `class ${k}`),
    );
    expect(await refusal(importModel(path, { classes: ["a"] }))).toMatch(/has 4 classes, 1 names were given/);
  });

  it("is not said twice: names given are no assumption, and what a file says cannot be given", async () => {
    const trained = { ...made({ name: "resnet18" }), assumed: ["classes", "normalization"] as const };
    await writeTrained(trained, at("assumed.safetensors"));
    const classes = ["a", "b", "c", "d"];
    const named = await importModel(at("assumed.safetensors"), { classes });
    expect(named.trained).toMatchObject({ classes, assumed: ["normalization"] });
    const [onnx] = await exportModel(trained, at("said"), [formats.get("onnx")!]);
    const normalization = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
    for (const path of [onnx, at("assumed.safetensors")]) {
      expect(await refusal(importModel(path, { normalization }))).toMatch(/normalization cannot be given/);
    }
    const [h5] = await exportModel(trained, at("said"), [formats.get("keras")!]);
    expect((await importModel(h5, { normalization, image })).trained).toMatchObject({ normalization, image });
    expect(await refusal(importModel(h5, { stem: "cifar" }))).toMatch(/stem cannot be given/);
    expect(await refusal(importModel(h5, { strides: [1, 2] }))).toMatch(/strides cannot be given/);
    expect(await refusal(importModel(h5, { image: [10, 12] }))).toMatch(
      /takes images of 12×10 \(height × width\), 10×12 is given$/,
    );
  });

  it("goes into a model of ours that is told, and only into one that it fits", async () => {
    const trained = made({ name: "resnet18", attention: "se" });
    await writeTrained(trained, at("ours.safetensors"));
    const path = stateDict(trained);
    const other = new Map([...trained.weights].map(([name, values]) => [name, values.map((x) => x + 1)]));
    const imported = await importModel(path, { into: { ...trained, weights: other } });
    expect(imported.trained).toMatchObject({ image, classes: trained.classes, weights: trained.weights });
    expect(await refusal(importModel(path, { into: made({ name: "resnet18" }) }))).toMatch(
      /layer1\.0\.se\.fc1\.weight is unexpected; /,
    );
    const [onnx] = await exportModel(trained, at("into"), [formats.get("onnx")!]);
    expect(await refusal(importModel(onnx, { into: trained }))).toMatch(
      /onnx files say what model they hold/,
    );
  });

  const ones = (...shape: number[]): NewTensor => ({
    shape,
    values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
  });
  const refused: [string, (all: Map<string, NewTensor>) => void, RegExp][] = [
    [
      "with missing, extra, misshapen and wrongly typed tensors, listing them",
      (all) => {
        all.delete("layer2.1.bn2.weight");
        all.set("layer2.1.bn2.bias", ones(3));
        all.set("extra.weight", ones(1));
        all.set("fc.bias", { shape: [4], dtype: "I64", values: new BigInt64Array(4) });
      },
      /layer2\.1\.bn2\.weight is missing; layer2\.1\.bn2\.bias has shape \[3\], expected \[24\]; fc\.bias holds I64, expected floats; extra\.weight is unexpected$/,
    ],
    ["without a stem", (all) => all.delete("conv1.weight"), /is no ResNet of ours: conv1\.weight is missing/],
    [
      "without stages",
      (all) => {
        for (const key of [...all.keys()]) if (key.startsWith("layer1")) all.delete(key);
      },
      /layer1\.0\.conv1\.weight is missing/,
    ],
    [
      "of a ResNet-D",
      (all) => all.set("layer2.0.downsample.1.weight", ones(24, 16, 1, 1)),
      /shows a pooled shortcut \(ResNet-D\)/,
    ],
    [
      "of a ResNeXt",
      (all) => all.set("layer1.0.conv2.weight", ones(16, 4, 3, 3)),
      /shows a convolution in groups/,
    ],
    [
      "with an attention nobody knows",
      (all) => all.set("layer1.0.se.query.weight", ones(2, 16)),
      /layer1\.0\.se holds an attention that is not known here/,
    ],
    [
      "with a stem no name fits",
      (all) => all.set("conv1.weight", ones(64, 3, 5, 5)),
      /conv1 has a 5×5 kernel, which no stem of ours has/,
    ],
  ];
  it.each(refused)("%s is refused", async (_, change, message) => {
    const trained = made({ name: "resnet18", attention: "se" });
    await writeTrained(trained, at("ours.safetensors"));
    expect(await refusal(importModel(stateDict(trained, change), { image }))).toMatch(message);
  });
});

describe("weights to start from", () => {
  it("are known by their bytes", async () => {
    const trained = made({ name: "resnet18" });
    await writeTrained(trained, at("start.safetensors"));
    const known = await fingerprintOf(at("start.safetensors"));
    const tensors = await loadPretrained(known);
    expect(tensors.get("fc.weight")).toEqual({ shape: [4, 24], values: trained.weights.get("fc.weight") });
    await writeTrained(made({ name: "resnet18" }, 5), at("start.safetensors"));
    expect(await refusal(loadPretrained(known))).toMatch(/start\.safetensors: is another file than the one/);
    expect(await refusal(fingerprintOf(at("none.safetensors")))).toMatch(
      /there is no such run or model file/,
    );
    writeFileSync(at("model.pth"), "x");
    expect(await refusal(fingerprintOf(at("model.pth")))).toMatch(
      /is no model file by its name: expected .*\.safetensors/,
    );
  });

  it("are named even where they are no floats, without values", async () => {
    const weight = { shape: [1], values: Float32Array.of(2) };
    const ids: NewTensor = { dtype: "I32", shape: [1], values: Int32Array.of(3) };
    writeFileSync(
      at("ids.safetensors"),
      writeSafetensors(new Map<string, NewTensor>(Object.entries({ weight, ids }))),
    );
    const read = await loadPretrained(await fingerprintOf(at("ids.safetensors")));
    expect(Object.fromEntries(read)).toEqual({ weight, ids: { shape: [1] } });
  });

  it("come from every format alike", async () => {
    const trained = made({ name: "resnet18", attention: "eca" });
    for (const format of formats.values()) {
      const [path] = await exportModel(trained, at(`from-${format.name}`), [format]);
      const tensors = await loadPretrained(await fingerprintOf(path));
      for (const [name, values] of trained.weights) expect(tensors.get(name)?.values).toEqual(values);
    }
  });
});

describe("completeExports", () => {
  it("writes what is missing, nothing twice, and all anew when the model has changed", async () => {
    const run = at("run");
    const notes: string[] = [];
    const complete = () => completeExports(run, (note) => notes.push(note));
    await exportModel(made({ name: "resnet18" }), run, [formats.get("safetensors")!]);
    await complete();
    const first = readFileSync(join(run, "model.onnx"));
    writeFileSync(join(run, "model.onnx"), "somebody else's"); // of the same model: not ours to judge
    await complete();
    expect(readFileSync(join(run, "model.onnx"), "utf8")).toBe("somebody else's");
    rmSync(join(run, "model.onnx"));
    await complete();
    expect(readFileSync(join(run, "model.onnx")).equals(first)).toBe(true);
    await exportModel(made({ name: "resnet18", attention: "se" }), run, [formats.get("safetensors")!]);
    await complete();
    expect(readFileSync(join(run, "model.onnx")).equals(first)).toBe(false);
    expect(notes).toEqual([]);
    expect(existsSync(join(run, "exports.json"))).toBe(true);
  });
});
