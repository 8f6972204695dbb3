import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/exchange/formats.ts";
import { floatsOf, readSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { atento, TINY, temporaryFolder } from "./support.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(async () => {
  folder = temporaryFolder();
  const { code } = await run(`study ${folder.write("tiny.yaml", TINY)}`);
  expect(code).toBe(0);
}, 60_000);
afterAll(() => folder.remove());

const run = (line: string) => atento(line.split(" "), { cwd: folder.path });
const at = (...path: string[]) => join(folder.path, ...path);
const bytes = (path: string) => readFileSync(at(path));
const SE = "runs/tiny/se/seed-1";

const clean = (stderr: string) => stderr.split("\n").filter((line) => line.startsWith("error: "));

describe("atento study", () => {
  it("leaves every finished run in every format, and makes again what is missing", async () => {
    const files = readdirSync(at(SE)).filter((name) => /^(model|weights|exports)/.test(name));
    expect(files.sort()).toEqual([
      "exports.json",
      "model.h5",
      "model.onnx",
      "model.safetensors",
      "weights.h5",
    ]);
    const onnx = bytes(`${SE}/model.onnx`);
    rmSync(at(SE, "model.onnx"));
    const { mtimeMs } = statSync(at("runs/tiny/plain/seed-1/model.onnx"));
    expect((await run("study tiny.yaml")).code).toBe(0);
    expect(bytes(`${SE}/model.onnx`).equals(onnx)).toBe(true);
    expect(statSync(at("runs/tiny/plain/seed-1/model.onnx")).mtimeMs).toBe(mtimeMs);
  });
});

describe("atento export and import", () => {
  it("write a run in every format, which evaluates as the run does", async () => {
    const { stdout, code } = await run(`export ${SE} --all --out taken --json`);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      run: SE,
      files: ["model.safetensors", "model.h5", "weights.h5", "model.onnx"].map((name) => `taken/${name}`),
    });
    expect(bytes("taken/model.safetensors").equals(bytes(`${SE}/model.safetensors`))).toBe(true);
    for (const name of ["model.onnx", "model.h5", "weights.h5"]) {
      expect(bytes(`taken/${name}`).equals(bytes(`${SE}/${name}`)), name).toBe(true);
    }
    const evaluated = async (path: string) => {
      const { path: _, ...figures } = JSON.parse((await run(`eval ${path} --json`)).stdout);
      return figures;
    };
    const own = await evaluated(SE);
    expect(own.count).toBe(40);
    expect(await evaluated("taken/model.onnx")).toEqual(own);
    expect(await evaluated("taken/model.h5")).toEqual(own);
    const imported = await run("import taken/model.onnx --out again.safetensors --json");
    expect(JSON.parse(imported.stdout)).toMatchObject({
      out: "again.safetensors",
      classes: 10,
      left: [],
      made: [],
    });
    expect(await evaluated("again.safetensors")).toEqual(own);
  });

  it("are explained by the same maps whatever the file", async () => {
    const looked = async (path: string) => {
      const { stdout } = await run(`explain ${path} shapes:test/5 --out looked --json`);
      const [image] = JSON.parse(stdout).images;
      const [own] = Object.values(image.variants) as { probability: number; maps: object }[];
      return own;
    };
    const own = await looked(SE);
    expect(own.probability).toBeGreaterThan(0);
    for (const name of ["model.h5", "model.onnx"]) expect(await looked(`taken/${name}`)).toEqual(own);
    const { stderr, code } = await run(`explain ${SE} shapes:test/5 --mean 0.5 --std 0.25`);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining("says its own normalization, which may be given for a .h5 only"),
    ]);
  });

  it("take a state dict, which knows no data, and make it a model of ours", async () => {
    const { tensors } = readSafetensors(bytes(`${SE}/model.safetensors`));
    const floats = [...tensors].filter(([, { dtype }]) => dtype === "F32");
    const dict = new Map(floats.map(([name, x]) => [name, { shape: x.shape, values: floatsOf(x) }]));
    writeFileSync(at("dict.safetensors"), writeSafetensors(dict));
    folder.write("names.txt", Array.from({ length: 10 }, (_, k) => `kind ${k}\n`).join(""));
    const flags =
      "--image 16 --stem pooled --strides 1 --classes names.txt --mean 0.5,0.5,0.5 --std 0.2,0.2,0.2";
    const { stdout, code } = await run(`import dict.safetensors ${flags}`);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^bottleneck blocks 1 of widths 4, attention se \{"reduction":4,.*\}, 10 classes\n31 tensors taken; left: none; made new: none\ndict\.atento\.safetensors\n$/,
    );
    const json = await run("import dict.safetensors --stem pooled --strides 1 --json");
    expect(JSON.parse(json.stdout).model).toEqual(
      JSON.parse(bytes(`${SE}/run.json`).toString()).settings.model,
    );
    const evaluated = await run("eval dict.atento.safetensors");
    expect(evaluated.stderr).toBe(
      "error: dict.atento.safetensors: does not say what it was trained on: name the data with --data\n",
    );
    expect((await run("export dict.atento.safetensors --to onnx --out dict")).code).toBe(0);
  });

  it("say of a model of somebody else's which file it is from", async () => {
    const theirs = fileURLToPath(new URL("../fixtures/keras/small.keras3.h5", import.meta.url));
    expect((await run(`export ${theirs} --all --out theirs`)).code).toBe(0);
    const sha256 = createHash("sha256").update(readFileSync(theirs)).digest("hex");
    for (const name of ["model.onnx", "model.h5", "model.safetensors"]) {
      const { origin } = await loadModel(at("theirs", name));
      expect(origin, name).toEqual({ file: "small.keras3.h5", sha256 });
    }
  });

  it("leave the map away when told to", async () => {
    await run(`export ${SE} --to onnx --no-map --out plain`);
    const [without, shown] = [bytes("plain/model.onnx"), bytes(`${SE}/model.onnx`)];
    expect(shown.includes("Resize")).toBe(true);
    expect(without.includes("Resize")).toBe(false);
  });

  it.each([
    [`export ${SE}`, "expected --to safetensors|keras|onnx or --all"],
    [`export ${SE} --to onxx`, 'unknown format "onxx": did you mean onnx?'],
    [
      `export ${SE} --to onnx --map layer8`,
      'layer "layer8": the model has no layer of that name whose output is a map',
    ],
    [`export ${SE} --to keras --map layer1`, "--map is of onnx: leave it away, or --to onnx"],
    [`export ${SE} --to safetensors --no-map`, "--no-map is of onnx"],
    [`export ${SE} --to onnx --optimizer-state`, "--optimizer-state is of keras"],
    [
      `export ${SE} --to keras --optimizer-state`,
      `${SE}: Keras keeps the state of SGD in another unit: leave --optimizer-state away`,
    ],
    [
      `export ${SE}/model.onnx --to keras --optimizer-state --out kept`,
      "the optimizer's state is kept in the folder of a run, this is none",
    ],
    [`import ${SE}/model.h5 --stem cifar`, "this keras file says what model it holds: stem cannot be given"],
    [
      `explain ${SE}/model.h5 shapes:test/5 --image 99`,
      "takes images of 16×16 (height × width), 99×99 is given",
    ],
    ["export nowhere --all", "nowhere: there is no such run or model file"],
    [
      "import tiny.yaml",
      "tiny.yaml: is no model file by its name: expected a run's folder, or a file in .safetensors",
    ],
    [
      `import ${SE}/model.safetensors --out model.h5`,
      "--out model.h5: expected a name that ends in .safetensors",
    ],
    [`import ${SE}/model.safetensors --out ${SE}/model.safetensors`, "is the file itself"],
    [`import ${SE}/model.onnx --mean 0,0,0`, "--mean and --std go together"],
  ])("%s: one line that says %j", async (line, says) => {
    const { code, stderr, stdout } = await run(line);
    expect(stdout).toBe("");
    expect(clean(stderr)).toHaveLength(1);
    expect(stderr).toContain(says);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(2);
  });
});

describe("pretrained weights", () => {
  const STARTED = TINY.replace("name: tiny", "name: started").replace(
    "train: {",
    "train: { freeze: [stem], bodyRate: 0.5,",
  );
  const study = (pretrained: string) => STARTED.replace("model: {", `model: { pretrained: ${pretrained},`);

  it("start a study; changed weights are another study", async () => {
    await run(`export ${SE} --to safetensors --out start`);
    folder.write("started.yaml", study("start/model.safetensors"));
    const done = await run("study started.yaml");
    expect(done.stderr).toContain(
      "note: pretrained start/model.safetensors: 27 tensors taken; left: layer*.*.se.fc*.bias (2), ",
    );
    expect(done.stderr).toContain(
      "note: pretrained start/model.safetensors: 31 tensors taken; left: none; made new: none",
    );
    expect(done.code).toBe(0);
    const known = JSON.parse(bytes("runs/started/study.json").toString());
    expect(known.variants.se).toMatchObject({
      train: { freeze: ["stem"], bodyRate: 0.5 },
      pretrained: { file: "start/model.safetensors" },
    });
    expect((await run("study started.yaml")).code).toBe(0);
    await run("export runs/started/se/seed-1 --to safetensors --out start");
    const changed = await run("study started.yaml");
    expect(changed.code).toBe(2);
    expect(changed.stderr).toContain("variants.plain.pretrained.sha256 is");
    folder.write("started.yaml", study("gone.safetensors"));
    expect((await run("study started.yaml")).stderr).toContain(
      "gone.safetensors: there is no such run or model file",
    );
  });

  it("start a single run, and resume goes on with it", async () => {
    const model = "--depths 1 --widths 4 --expansion 2 --stem imagenet";
    const options = `${model} --data shapes --epochs 1 --freeze stem --body-rate 0.1`;
    const { code, stderr } = await run(`train resnet14 --name own ${options} --pretrained ${SE}`);
    expect(stderr).toContain(`note: pretrained ${SE}: `);
    expect(stderr).toContain("conv1.weight"); // of another stem
    expect(code).toBe(0);
    expect(JSON.parse(bytes("runs/train/own/seed-1/run.json").toString()).settings).toMatchObject({
      train: { freeze: ["stem"], bodyRate: 0.1 },
      pretrained: { file: SE },
    });
    expect(existsSync(at("runs/train/own/seed-1/model.onnx"))).toBe(false);
    expect((await run("resume runs/train/own/seed-1")).code).toBe(0);
  });
});
