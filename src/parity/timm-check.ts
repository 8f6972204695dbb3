#!/usr/bin/env node
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { cacheFolder } from "../data/source.ts";
import { createEngine } from "../engine/create.ts";
import { importModel } from "../exchange/import.ts";
import { floatsOf, readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { buildModel } from "../models/build.ts";
import { resolveModel } from "../models/options.ts";
import type { ResNet } from "../models/resnet.ts";
import { Variables } from "../nn/scope.ts";
import { Random } from "../random/random.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type Trained, writeTrained } from "../train/trained.ts";
import { writeWeights } from "../train/weights.ts";

const PACKAGES = ["timm==1.0.31", "torch==2.15.0", "torchvision==0.29.2", "safetensors==0.8.0"];
const TOLERANCE = 1e-5;
const IMAGE = [64, 96] as const;
const BATCH = 2;

const { python } = new Command("timm-check")
  .description(
    "Has timm load our model files with strict=True and compares logits; then loads timm's and torchvision's files here.",
  )
  .option("--python <path>", `that has ${PACKAGES.join(", ")} (default: a virtual environment in the cache)`)
  .addHelpText("after", "\nExample: npm run timm-check -- --python ~/venv/bin/python")
  .parse()
  .opts<{ python?: string }>();

/** A Python that has the packages; made at the first use. */
function environment(): string {
  const folder = join(cacheFolder({}), "timm-check");
  const own = join(folder, "bin/python");
  if (existsSync(own)) return own;
  console.log(`installing ${PACKAGES.join(", ")} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  for (const args of [
    ["python3", "-m", "venv", folder],
    [own, "-m", "pip", "install", "-q", ...PACKAGES],
  ]) {
    const { status } = spawnSync(args[0], args.slice(1), { stdio: "inherit" });
    if (status === 0) continue;
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${args.join(" ")} failed`);
  }
  return own;
}

/** Weights under which every layer does something. */
function randomWeights(model: ResNet, random: Random): Map<string, Float32Array> {
  const variables = new Variables(1);
  buildModel(model, variables, { batch: 1, image: IMAGE, training: false });
  return new Map(
    variables.all().map(({ name, shape, initialize }) => {
      const values = new Float32Array(sizeOf(shape));
      initialize(values);
      if (shape.length !== 1) return [name, values];
      const scale = /(running_var|weight)$/.test(name);
      return [name, values.map(() => (scale ? random.uniform(0.5, 1.2) : 0.1 * random.normal()))];
    }),
  );
}

const engine = createEngine();

async function logitsOf({ model, weights, image }: Trained, images: Float32Array): Promise<Float32Array> {
  const variables = new Variables(0);
  const { logits } = buildModel(model, variables, { batch: BATCH, image, training: false });
  const store = engine.open(variables.all());
  try {
    writeWeights(store, weights);
    return (await store.compile({ outputs: { logits }, effects: [] }).run({ images }))["logits"];
  } finally {
    store.close();
  }
}

const tensorIn = (path: string, name: string) =>
  floatsOf(readSafetensors(readFileSync(path), path).tensors.get(name)!);

function relative(a: Float32Array, b: Float32Array): number {
  const top = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return a.reduce((worst, x, k) => Math.max(worst, Math.abs(x - b[k])), 0) / top;
}

let failed = 0;
function report(what: string, difference: number): void {
  const good = difference <= TOLERANCE;
  if (!good) failed++;
  console.log(
    `${good ? "ok    " : "FAILED"}  ${what}: logits differ by ${difference.toExponential(2)} of the largest`,
  );
}

const root = mkdtempSync(join(tmpdir(), "atento-timm-"));
const random = new Random("timm-check");
const shape = [BATCH, 3, ...IMAGE];
const images = Float32Array.from({ length: sizeOf(shape) }, () => random.normal());
const batchOf = (more: Record<string, { shape: readonly number[]; values: Float32Array }>) =>
  writeSafetensors(new Map(Object.entries({ images: { shape, values: images }, ...more })));
writeFileSync(join(root, "images.safetensors"), batchOf({}));
for (const attention of ["none", "se", "cbam", "eca"]) {
  for (const name of ["resnet14", "resnet18", ...(attention === "se" ? ["resnet50"] : [])]) {
    const gate = ["se", "cbam"].includes(attention) ? { attentionOptions: { rounding: "timm" } } : {};
    const model = resolveModel({ name, stem: "imagenet", attention, ...gate }, 10);
    const weights = randomWeights(model, random);
    const trained: Trained = {
      ...{ model, weights, image: IMAGE, variant: name, seed: 0 },
      classes: Array.from({ length: 10 }, (_, k) => `${k}`),
      normalization: { mean: [0, 0, 0], std: [1, 1, 1] },
    };
    const folder = join(root, "ours", attention === "none" ? name : `${name}-${attention}`);
    mkdirSync(folder, { recursive: true });
    await writeTrained(trained, join(folder, "model.safetensors"));
    const values = await logitsOf(trained, images);
    writeFileSync(join(folder, "batch.safetensors"), batchOf({ logits: { shape: [BATCH, 10], values } }));
    const { block, depths, widths, classes } = model;
    const described = { block, depths, widths, classes, attention: attention === "none" ? null : attention };
    writeFileSync(join(folder, "case.json"), JSON.stringify(described));
  }
}

const script = fileURLToPath(new URL("../../scripts/timm_check.py", import.meta.url));
const { status, stdout } = spawnSync(python ?? environment(), [script, root], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
  maxBuffer: 2 ** 26,
});
if (status !== 0) throw new Error(`timm could not load or write a file; they are kept in ${root}`);
const answer = JSON.parse(stdout) as {
  versions: Record<string, string>;
  ours: { name: string; keys: number; difference: number }[];
  theirs: string[];
};
console.log(
  Object.entries(answer.versions)
    .map((pair) => pair.join(" "))
    .join(", "),
);
for (const { name, keys, difference } of answer.ours) {
  report(`ours in timm, strict, ${keys} tensors: ${name}`, difference);
}
for (const name of answer.theirs) {
  const { trained, taken, left } = await importModel(join(root, "timm", `${name}.safetensors`), {
    image: IMAGE,
  });
  const logits = await logitsOf(trained, images);
  const expected = tensorIn(join(root, "timm", `${name}.logits`), "logits");
  report(
    `theirs here, ${taken.length} tensors taken, ${left.length} counters left: ${name}`,
    relative(logits, expected),
  );
}
if (failed === 0) rmSync(root, { recursive: true });
process.exitCode = failed === 0 ? 0 : 1;
