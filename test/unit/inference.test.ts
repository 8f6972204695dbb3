import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceEngine } from "../../src/engine/reference.ts";
import { exportModel } from "../../src/exchange/export.ts";
import { formats } from "../../src/exchange/formats.ts";
import { Classifier, UserError } from "../../src/inference.ts";
import { resolveModel } from "../../src/models/options.ts";
import { difference } from "../support/compare.ts";
import { lookAt, normalize } from "../support/maps.ts";
import { madeUp } from "../support/trained.ts";

const source = fileURLToPath(new URL("../../src", import.meta.url));

/** Files that a module loads when it runs, itself included. */
function loaded(file: string, known = new Set<string>()): Set<string> {
  if (known.has(file)) return known;
  known.add(file);
  const text = readFileSync(file, "utf8");
  for (const [, clause, path] of text.matchAll(/^(?:import|export)\b([^;]*?) from "(\.[^"]+)";/gm)) {
    const names = /\{([^}]*)\}/.exec(clause)?.[1].split(",") ?? [];
    const onlyTypes =
      /^\s+type\b/.test(clause) || (names.length > 0 && names.every((n) => /^\s*(type\s|$)/.test(n)));
    if (!onlyTypes) loaded(join(dirname(file), path), known);
  }
  return known;
}

describe("atento/inference", () => {
  it("loads nothing that trains, studies, reports or talks on the command line", () => {
    const files = [...loaded(join(source, "inference.ts"))].map((file) => relative(source, file));
    expect(files).toContain("exchange/onnx/read.ts");
    const train = files.filter((file) => file.startsWith("train/")).sort();
    expect(train).toEqual([
      "train/environment.ts",
      "train/run-data.ts",
      "train/trained.ts",
      "train/weights.ts",
    ]);
    expect(files.filter((file) => /^(study|cli|report|parity|bench|fuzz|crash)\//.test(file))).toEqual([]);
  });
});

let folder: string;
const trained = madeUp(
  resolveModel({ name: "resnet14", depths: [1, 1], widths: [8, 8], stem: "cifar", attention: "cbam" }, 3),
  [20, 24],
  { classes: ["cat", "dog", "ship"] },
);
const pixels = Uint8Array.from({ length: 20 * 24 * 3 }, (_, i) => (i * 31 + (i >> 5) * 7) % 256);
/** [1,3,H,W] in 0 to 1. */
const values = Float32Array.from(
  { length: pixels.length },
  (_, i) => pixels[3 * (i % 480) + Math.floor(i / 480)] / 255,
);
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "atento-inference-"));
  await exportModel(trained, folder, formats.values());
  await sharp(pixels, { raw: { width: 24, height: 20, channels: 3 } })
    .png()
    .toFile(join(folder, "image.png"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

describe("Classifier", () => {
  it.each(["", "model.safetensors", "model.h5", "model.onnx"])(
    "classifies and shows where, from %j",
    async (name) => {
      const classifier = await Classifier.load(at(name));
      expect(classifier.classes).toEqual(["cat", "dog", "ship"]);
      const expected = await lookAt(trained, referenceEngine, normalize(values, trained));
      const { classes, map } = await classifier.classify(at("image.png"), { map: true });
      const shares = expected.logits.map(Math.exp);
      const sum = shares.reduce((a, b) => a + b);
      const ranked = [...classifier.classes.keys()].sort((a, b) => shares[b] - shares[a]);
      expect(classes.map((c) => c.name)).toEqual(ranked.map((k) => classifier.classes[k]));
      for (const [k, { probability }] of classes.entries())
        expect(probability).toBeCloseTo(shares[ranked[k]] / sum, 5);
      expect(map).toMatchObject({ of: classes[0].name, layer: "layer2", height: 20, width: 24 });
      expect(difference(map!.values, expected.map, [20, 24], 1e-4)).toBeUndefined();
      expect(await classifier.classify(readFileSync(at("image.png")))).toEqual({ classes });
      classifier.close();
    },
  );

  it("looks for any class at any layer", async () => {
    const classifier = await Classifier.load(folder);
    const maps = await Promise.all(
      classifier.classes.map(
        async (of) => (await classifier.classify(at("image.png"), { map: { of, layer: "layer1" } })).map!,
      ),
    );
    expect(maps.map(({ of, layer }) => [of, layer])).toEqual(classifier.classes.map((of) => [of, "layer1"]));
    expect(new Set(maps.map((map) => map.values.join())).size).toBe(3);
    const { classes, map } = await classifier.classify(at("image.png"), { map: { layer: "layer1" } });
    expect(map!.values).toEqual(maps.find(({ of }) => of === classes[0].name)!.values);
    classifier.close();
  });

  it("says what cannot be read, and which classes and layers there are", async () => {
    const classifier = await Classifier.load(folder);
    writeFileSync(at("text.png"), "no image");
    const refused = async (job: Promise<unknown>, message: RegExp) => {
      await expect(job).rejects.toThrow(UserError);
      await expect(job).rejects.toThrow(message);
    };
    await refused(classifier.classify(at("text.png")), /text\.png: is no image that can be read/);
    await refused(classifier.classify(at("none.png")), /none\.png: cannot be read/);
    await refused(classifier.classify(new Uint8Array(3)), /^image: is no image/);
    const image = at("image.png");
    await refused(
      classifier.classify(image, { map: { of: "dig" } }),
      /unknown class "dig": did you mean dog\?/,
    );
    await refused(
      classifier.classify(image, { map: { layer: "avgpool" } }),
      /layer "avgpool" is 1×1: .* there are layer2/,
    );
    classifier.close();
    await refused(Classifier.load(at("none")), /there is no such run or model file/);
    const normalization = { mean: [0, 0, 0], std: [1, 1, 1] } as const;
    await refused(
      Classifier.load(at("model.onnx"), { normalization }),
      /model\.onnx: says its own normalization/,
    );
    (await Classifier.load(at("model.h5"), { normalization, threads: 1 })).close();
  });
});
