import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { readCase } from "../../src/parity/case.ts";
import { checkCase, passes } from "../../src/parity/check.ts";
import { UserError } from "../../src/tensor/errors.ts";
import { type CaseFolder, makeCase, smallCase } from "../support/parityCase.ts";

const engine = createEngine({ engine: "reference" });

let whole: CaseFolder;
let folder: CaseFolder;
beforeAll(async () => {
  whole = await makeCase();
});
beforeEach(() => {
  folder = Object.assign(Object.create(Object.getPrototypeOf(whole)) as CaseFolder, structuredClone(whole));
});
afterAll(() => rmSync(whole.path, { recursive: true, force: true }));

const check = async () => checkCase(await readCase(folder.write()), engine);
const beyond = async () => (await check()).rows.filter((row) => !passes(row));

/** Moves one value of an expected tensor by this share of its largest magnitude. */
function disturb(name: string, share: number): void {
  const { values } = folder.tensors.expect[name] as { values: Float32Array };
  values[values.length - 1] += share * values.reduce((top, v) => Math.max(top, Math.abs(v)), 0);
}

const quantities = [
  "eval.logits",
  "train.logits",
  "train.loss",
  "grad.*",
  "after1.*",
  "sgd2.losses",
  "sgd2.updates",
  "sgd2.statistics",
];

test("a case whose expectations are met has a row for every quantity", async () => {
  const { rows } = await check();
  expect(rows.map(({ quantity }) => quantity)).toEqual(quantities);
  expect(rows.filter((row) => !passes(row))).toEqual([]);
  expect(rows.every(({ tensors }) => tensors > 0)).toBe(true);
});

test.each([
  ["eval.logits", "eval.logits", "logits"],
  ["train.loss", "train.loss", "loss"],
  ["grad.layer1.0.se.fc2.bias", "grad.*", "layer1.0.se.fc2.bias"],
  ["after1.layer1.1.bn3.running_var", "after1.*", "layer1.1.bn3.running_var"],
  ["sgd2.losses", "sgd2.losses", "losses"],
])("an error of 2e-4 in %s is found, and one of 2e-5 is not", async (name, quantity, worst) => {
  disturb(name, 2e-5);
  expect(await beyond()).toEqual([]);
  disturb(name, 2e-4);
  expect(await beyond()).toMatchObject([{ quantity, worst, tolerance: 1e-4 }]);
});

test("updates are measured by their norm, all together", async () => {
  const { model, expect: expected } = folder.tensors;
  for (const [name, { values }] of Object.entries(model)) {
    const end = expected[`sgd2.${name}`].values as Float32Array;
    end.forEach((value, i) => {
      end[i] = value + 0.04 * (value - Number(values[i]));
    });
  }
  const rows = await beyond();
  expect(rows).toMatchObject([{ quantity: "sgd2.updates" }, { quantity: "sgd2.statistics" }]);
  for (const { error } of rows) expect(error).toBeCloseTo(0.04 / 1.04, 4);
});

test("NaN is never within tolerance", async () => {
  (folder.tensors.expect["grad.conv1.weight"].values as Float32Array)[3] = Number.NaN;
  (folder.tensors.expect["sgd2.conv1.weight"].values as Float32Array)[3] = Number.NaN;
  expect(await beyond()).toMatchObject([
    { quantity: "grad.*", error: Number.POSITIVE_INFINITY, worst: "conv1.weight" },
    { quantity: "sgd2.updates", error: Number.POSITIVE_INFINITY, worst: "conv1.weight" },
  ]);
});

test("a part of the quantities is enough, probabilities among them", async () => {
  const { values } = folder.tensors.expect["eval.logits"];
  const rows = [0, 3, 6, 9].map((from) => [...values.slice(from, from + 3)].map((v) => Math.exp(Number(v))));
  const probabilities = rows.flatMap((row) => row.map((v) => v / row.reduce((a, b) => a + b)));
  folder.tensors.expect = {
    "eval.probabilities": { shape: [4, 3], values: Float32Array.from(probabilities) },
  };
  const report = await check();
  expect(report.rows.map(({ quantity }) => quantity)).toEqual(["eval.probabilities"]);
  expect(report.rows.filter((row) => !passes(row))).toEqual([]);
});

test("the other program's count of parameters is compared", async () => {
  folder.description = { ...smallCase, parameters: 5 };
  expect(await beyond()).toMatchObject([{ quantity: "parameters", worst: expect.stringMatching(/ of 5$/) }]);
});

/** What is wrong with a folder, and what the one line about it must say. */
const faults: readonly (readonly [string, (at: CaseFolder) => void, RegExp])[] = [
  [
    "an unknown attention",
    (at) => change(at, { attention: "sse" }),
    /case\.json: architecture\.attention "sse" is not among none, se, se-nobias, cbam, eca/,
  ],
  ["depths that are no list", (at) => change(at, { depths: 3 }), /case\.json: architecture\.depths: .*array/],
  [
    "lists of unlike length",
    (at) => change(at, { widths: [3, 5] }),
    /case\.json: .*1 depths \[1?2\] need as many widths/,
  ],
  [
    "an unknown optimiser",
    (at) => (at.description = { ...smallCase, optimizers: { adma3: {} } }),
    /case\.json: optimizers\.adma3: unknown optimizer "adma": did you mean adam\?/,
  ],
  [
    "a setting the optimiser does not have",
    (at) => (at.description = { ...smallCase, optimizers: { sgd3: { beta1: 0.9 } } }),
    /case\.json: optimizers\.sgd3: .*beta1/,
  ],
  [
    "an image of another size",
    (at) => change(at, { image: [8, 8] }),
    /batch\.safetensors: images are \[4,3,8,6\], case\.json says 4 of 8×8/,
  ],
  [
    "labels beyond the classes",
    (at) => (at.tensors.batch["labels"] = { shape: [4], values: Float32Array.of(0, 1, 3, 0) }),
    /batch\.safetensors: labels hold 3, the model's classes are 0 to 2/,
  ],
  [
    "labels that do not fit",
    (at) => (at.tensors.batch["labels"] = { shape: [3], values: Float32Array.of(0, 1, 2) }),
    /batch\.safetensors: labels \[3\] do not fit images \[4,3,8,6\]/,
  ],
  ["no images", (at) => delete at.tensors.batch["images"], /batch\.safetensors: has no tensor images/],
  [
    "a missing parameter",
    (at) => delete at.tensors.model["layer1.0.bn2.weight"],
    /model\.safetensors: has no tensor layer1\.0\.bn2\.weight \[3\]/,
  ],
  [
    "a parameter of another shape",
    (at) => (at.tensors.model["conv1.weight"] = { shape: [1], values: new Float32Array(1) }),
    /model\.safetensors: conv1\.weight must be \[4,3,3,3\], is \[1\]/,
  ],
  [
    "a parameter without a place",
    (at) => (at.tensors.model["layer2.0.conv1.weight"] = { shape: [1], values: new Float32Array(1) }),
    /model\.safetensors: layer2\.0\.conv1\.weight has no place in the architecture/,
  ],
  [
    "a quantity nobody knows",
    (at) => (at.tensors.expect["grad.conv9.weight"] = { shape: [1], values: new Float32Array(1) }),
    /expect\.safetensors: nothing here computes grad\.conv9\.weight/,
  ],
  [
    "a quantity of another shape",
    (at) => (at.tensors.expect["eval.logits"] = { shape: [2, 3], values: new Float32Array(6) }),
    /expect\.safetensors: eval\.logits is \[2,3\], the case computes 12 values/,
  ],
  ["nothing to compare", (at) => (at.tensors.expect = {}), /expect\.safetensors: holds nothing to compare/],
];

function change(at: CaseFolder, architecture: object): void {
  at.description = { ...smallCase, architecture: { ...smallCase.architecture, ...architecture } };
}

describe("a folder that is no case is refused in one line", () => {
  test.each(faults)("%s", async (_, spoil, says) => {
    spoil(folder);
    const error = await check().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(says);
    expect((error as UserError).message).not.toContain("\n");
  });

  test("files that are missing, truncated, no JSON", async () => {
    await expect(readCase(join(folder.path, "nowhere"))).rejects.toThrow(
      /nowhere: no case: cannot read .*ENOENT/,
    );
    folder.write();
    writeFileSync(join(folder.path, "case.json"), "{ depths");
    await expect(readCase(folder.path)).rejects.toThrow(/case\.json: is not JSON/);
    folder.write();
    writeFileSync(join(folder.path, "model.safetensors"), "short");
    await expect(readCase(folder.path)).rejects.toThrow(/model\.safetensors: no valid safetensors file/);
  });
});

describe("npm run parity", () => {
  const program = fileURLToPath(new URL("../../dist/parity/main.js", import.meta.url));
  const run = (...args: string[]) => {
    expect(existsSync(program), "dist is built: npm run build:ts").toBe(true);
    return spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  };

  test("prints a row per quantity and exits with 0", () => {
    const { status, stdout } = run(folder.write(), "--engine", "reference");
    for (const quantity of quantities) expect(stdout).toContain(quantity);
    expect(stdout).toContain("1 of 1 comparisons within tolerance");
    expect(status).toBe(0);
  });

  test("exits with 1 beyond a tolerance, and names the tensor", () => {
    disturb("grad.fc.weight", 1e-2);
    const { status, stdout } = run(folder.write(), "--engine", "reference");
    expect(stdout).toMatch(/grad\.\* .* BEYOND +fc\.weight/);
    expect(status).toBe(1);
  });

  test.each([
    [["/nowhere"], /^\/nowhere: no case/],
    [[], /^no folder given/],
    [["--engine", "nativ", "x"], /^unknown engine "nativ": did you mean native\?/],
    [["--threds", "2"], /threds/],
    [["--threads", "x", "--engine", "native", "."], /^\.: no case/],
  ])("exits with 2 and one line for %j", (args, says) => {
    const { status, stderr, stdout } = run(...args);
    expect(stderr).toMatch(says);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});
