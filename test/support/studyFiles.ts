import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadDataset } from "../../src/data/load.ts";
import { resolveModel } from "../../src/models/options.ts";
import { Random } from "../../src/random/random.ts";
import { studyFileOf } from "../../src/study/folder.ts";
import { evaluationOf } from "../../src/train/metrics.ts";
import { trainSchema } from "../../src/train/options.ts";
import { runPaths } from "../../src/train/run-data.ts";
import type { RunData, RunFigures, RunFile, RunSettings } from "../../src/train/types.ts";

export interface MadeUp {
  readonly name?: string;
  readonly seeds?: readonly number[];
  readonly epochs?: number;
  readonly testImages?: number;
  readonly heatmaps?: boolean;
  /** The last variant's last seed stands at a third of its epochs. */
  readonly running?: boolean;
}

/** Accuracy in the end, how fast it is reached, parameters, multiply-adds, images/s. */
const VARIANTS = {
  plain: {
    end: 0.921,
    pace: 9,
    parameters: 509_594,
    multiplyAdds: 24_100_000,
    speed: 812,
    attention: undefined,
  },
  se: { end: 0.932, pace: 8, parameters: 553_850, multiplyAdds: 24_200_000, speed: 744, attention: "se" },
  cbam: { end: 0.945, pace: 8, parameters: 556_202, multiplyAdds: 24_900_000, speed: 588, attention: "cbam" },
  "se-adam": {
    end: 0.93,
    pace: 12,
    parameters: 553_850,
    multiplyAdds: 24_200_000,
    speed: 731,
    attention: "se",
  },
} as const;

type Variant = keyof typeof VARIANTS;

const SIZE = 32;
const MAP = 8;
const HEATMAP_IMAGES = 16;

/**
 * Writes the folder of a study that nobody trained: made-up figures in the shape of real ones, drawn from the seed, on
 * real images of *shapes*. Its heatmaps are made up too: the object's mask, blurred, with noise.
 * @returns the study's folder.
 */
export async function writeMadeUpStudy(folder: string, options: MadeUp = {}): Promise<string> {
  const {
    name = "made-up",
    seeds = [1, 2, 3],
    epochs = 100,
    testImages = 1000,
    heatmaps = true,
    running = false,
  } = options;
  const dataset = await loadDataset({ source: "shapes", train: 20, test: testImages, size: SIZE } as never, {
    cache: join(folder, "cache"),
  });
  const data: RunData = {
    source: { source: "shapes" },
    name: "shapes",
    fingerprint: dataset.fingerprint,
    classes: dataset.classes,
    image: [SIZE, SIZE],
    validation: 500,
    normalize: "channel",
  };
  const study = join(folder, name);
  const settingsOf = (variant: Variant, seed: number): RunSettings => ({
    variant,
    seed,
    model: resolveModel(
      { name: "resnet14", attention: VARIANTS[variant].attention ?? "none" },
      data.classes.length,
    ),
    data,
    train: trainSchema.parse({
      epochs,
      ...(variant === "se-adam" && { optimizer: { name: "adam", lr: 2e-3 } }),
    }),
  });
  const all = seeds.flatMap((seed) =>
    (Object.keys(VARIANTS) as Variant[]).map((variant) => settingsOf(variant, seed)),
  );
  const labels = Array.from(dataset.test.labels);
  for (const settings of all) {
    const { variant, seed } = settings as { variant: Variant; seed: number };
    const run = join(study, variant, `seed-${seed}`);
    mkdirSync(run, { recursive: true });
    const unfinished = running && variant === "se-adam" && seed === seeds[seeds.length - 1];
    writeRun(run, settings, labels, unfinished ? Math.ceil(epochs / 3) : epochs, unfinished);
    if (heatmaps && !unfinished) writeHeatmaps(run, variant, seed, dataset.test, labels);
  }
  writeFileSync(
    join(study, "study.json"),
    JSON.stringify(studyFileOf(name, all, "0.1.0", `npx atento study ${name}`)),
  );
  if (heatmaps) {
    mkdirSync(join(study, "cam"));
    const n = HEATMAP_IMAGES;
    writeFileSync(
      join(study, "cam", "images.safetensors"),
      safetensors({
        images: {
          dtype: "U8",
          shape: [n, SIZE, SIZE, 3],
          bytes: dataset.test.images.slice(0, n * SIZE * SIZE * 3),
        },
        labels: {
          dtype: "I32",
          shape: [n],
          bytes: new Uint8Array(Int32Array.from(labels.slice(0, n)).buffer),
        },
        masks: { dtype: "U8", shape: [n, SIZE, SIZE], bytes: dataset.test.masks!.slice(0, n * SIZE * SIZE) },
      }),
    );
  }
  return study;
}

function writeRun(
  run: string,
  settings: RunSettings,
  labels: readonly number[],
  epochs: number,
  unfinished: boolean,
): void {
  const { seed, data } = settings;
  const { end, pace, parameters, multiplyAdds, speed } = VARIANTS[settings.variant as Variant];
  const random = new Random("made-up run", settings.variant, seed);
  const shared = new Random("made-up seed", seed).normal() * 0.004;
  const final = end + shared + random.normal() * 0.002;
  const records = Array.from({ length: epochs }, (_, k) => {
    const learnt = 1 - Math.exp(-(k + 1) / pace);
    const accuracy = (top: number, noise: number) =>
      Math.min(1, Math.max(0.05, 0.1 + (top - 0.1) * learnt + random.normal() * noise * (1.2 - learnt)));
    const [train, validation] = [accuracy(final + 0.05, 0.01), accuracy(final, 0.03)];
    const loss = (value: number) => -Math.log(Math.max(0.02, value)) * 1.4 + 0.02;
    return {
      epoch: k + 1,
      step: 70 * (k + 1),
      lr: 0.05 * (1 + Math.cos((Math.PI * k) / epochs)),
      trainLoss: loss(train),
      trainAccuracy: train,
      validationLoss: loss(validation),
      validationAccuracy: validation,
    };
  });
  const last = records[epochs - 1];
  // some images are hard for everybody, so that the variants' mistakes fall together
  const hard = new Random("made-up images");
  const predictions = labels.map((label) => {
    const difficulty = 0.75 * hard.next() + 0.25 * random.next();
    return difficulty < quantileOfSum(final) ? label : random.int(data.classes.length);
  });
  const test = evaluationOf(data.classes, labels, predictions, labels.length * (last.validationLoss * 1.05));
  const figures: RunFigures = {
    trainAccuracy: last.trainAccuracy,
    trainLoss: last.trainLoss,
    validationAccuracy: last.validationAccuracy,
    validationLoss: last.validationLoss,
    testAccuracy: test.accuracy,
    testLoss: test.loss,
    parameters,
    statistics: 4832,
    multiplyAdds,
    imagesPerSecond: speed + random.normal() * 9,
    elapsedMs: 1000 * epochs * (4500 / speed),
    epochs,
  };
  const file: RunFile = {
    atento: "0.1.0",
    settings,
    environment: { engine: "native engine (made up)", node: process.version, processors: 2 },
    status: unfinished ? "running" : "done",
    startedAt: "2026-01-02T03:04:05.000Z",
    ...(!unfinished && { figures }),
  };
  const paths = runPaths(run);
  const lines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join("");
  writeFileSync(paths.run, JSON.stringify(file));
  writeFileSync(paths.metrics, lines(records));
  writeFileSync(
    paths.timings,
    lines(records.map(({ epoch }) => ({ epoch, elapsedMs: epoch * 6000, imagesPerSecond: speed }))),
  );
  if (unfinished) {
    mkdirSync(join(run, "checkpoints"));
    writeFileSync(join(run, "checkpoints", "step-000000070.safetensors"), "not looked into");
  } else writeFileSync(paths.test, JSON.stringify(test));
}

/** Below which 0.75·u + 0.25·v lies with about this probability, near the upper end. */
const quantileOfSum = (p: number) => 1 - Math.sqrt(2 * 0.75 * 0.25 * (1 - p) * 1.1);

function writeHeatmaps(
  run: string,
  variant: Variant,
  seed: number,
  { masks }: { readonly masks?: Uint8Array },
  labels: readonly number[],
): void {
  const random = new Random("made-up heatmaps", variant, seed);
  const focus = { plain: 0.5, se: 0.65, cbam: 0.85, "se-adam": 0.55 }[variant];
  const cells = MAP * MAP;
  const methods = ["grad-cam", "layer-cam", "eigen-cam"];
  const patch = SIZE / MAP;
  const blurred = (image: number, y: number, x: number) => {
    let sum = 0;
    for (let v = 0; v < patch; v++)
      for (let u = 0; u < patch; u++)
        sum += masks![image * SIZE * SIZE + (y * patch + v) * SIZE + x * patch + u];
    return sum / patch ** 2;
  };
  const tensors = Object.fromEntries(
    methods.map((method, m) => {
      const values = new Float32Array(HEATMAP_IMAGES * cells);
      for (let image = 0; image < HEATMAP_IMAGES; image++) {
        const map = values.subarray(image * cells, (image + 1) * cells);
        for (let k = 0; k < cells; k++) {
          map[k] = Math.max(
            0,
            focus * blurred(image, Math.floor(k / MAP), k % MAP) +
              (1 - focus) * random.next() * (0.7 + 0.2 * m),
          );
        }
        const most = Math.max(...map);
        for (let k = 0; k < cells; k++) map[k] /= most;
      }
      return [
        `map.${method}`,
        { dtype: "F32", shape: [HEATMAP_IMAGES, MAP, MAP], bytes: new Uint8Array(values.buffer) },
      ];
    }),
  );
  const gates = (shape: readonly number[], middle: number) => {
    const values = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => 1 / (1 + Math.exp(-(middle + 1.1 * random.normal()))),
    );
    return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
  };
  const modules =
    variant === "plain"
      ? {}
      : Object.fromEntries(
          ["layer1.0.se", "layer2.0.se", "layer3.0.se", "layer4.0.se"].map((layer, k) => [
            `gate.${layer}`,
            gates([10, 64 * 2 ** k], 0.4 * k - 0.6),
          ]),
        );
  const spatial: Readonly<Record<string, Tensor>> =
    variant === "cbam" ? { "gate.layer4.0.se.spatial": gates([10, MAP, MAP], 0) } : {};
  const images = Array.from({ length: HEATMAP_IMAGES }, (_, index) => {
    const wrong = random.next() < 0.2;
    return {
      index,
      label: labels[index],
      predicted: wrong ? random.int(10) : labels[index],
      probability: random.uniform(0.5, 1),
    };
  });
  const each = (make: () => number) => images.map(make);
  const scores = () => ({
    insertion: each(() => random.uniform(focus - 0.1, focus + 0.1)),
    deletion: each(() => random.uniform(0.1, 0.4)),
    road: each(() => random.uniform(0, 0.3)),
    drop: each(() => random.uniform(0, 0.5)),
    increase: each(() => random.int(2)),
    pointing: each(() => Number(random.next() < focus + 0.1)),
    energy: each(() => random.uniform(focus - 0.2, focus)),
    iou: each(() => random.uniform(0.2, 0.6)),
    sanity: each(() => random.uniform(0, 0.3)),
  });
  mkdirSync(join(run, "cam"));
  writeFileSync(join(run, "cam", "maps.safetensors"), safetensors({ ...tensors, ...modules, ...spatial }));
  writeFileSync(
    join(run, "cam", "scores.json"),
    JSON.stringify({
      layer: "layer4",
      images,
      methods: Object.fromEntries(methods.map((method) => [method, scores()])),
    }),
  );
}

interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file of any dtypes. */
export function safetensors(tensors: Readonly<Record<string, Tensor>>): Buffer {
  let at = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
    const begin = at;
    at += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, at] }];
  });
  const head = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([length, head, ...Object.values(tensors).map(({ bytes }) => bytes)]);
}
