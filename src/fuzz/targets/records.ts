import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readRunScores } from "../../cam/run.ts";
import { writeSafetensors } from "../../formats/safetensors.ts";
import { heatmapsOf } from "../../report/heatmaps.ts";
import { type RunRecord, readStudyFile } from "../../report/study-record.ts";
import { studyFileOf } from "../../study/folder.ts";
import { parseStudy } from "../../study/study.ts";
import { readMetrics, readRunFile, readTest } from "../../train/run-folder.ts";
import { fileTarget, type Target } from "../target.ts";
import { settings } from "./settings.ts";

/** Studies, what their runs record, and what a report reads. */
export function recordTargets(folder: string): Target[] {
  return [...run(folder), study(), ...reported(folder)];
}

function run(folder: string): Target[] {
  const at = (name: string) => join(folder, name);
  const record = {
    ...{ atento: "0.1.0", settings, environment: { node: "v20" }, status: "interrupted" },
    startedAt: new Date(0).toISOString(),
  };
  const epoch = { epoch: 1, step: 4, lr: 0.1, trainLoss: 2, trainAccuracy: 0.5 };
  const test = {
    ...{ count: 2, loss: 1, accuracy: 0.5, perClass: [{ name: "cat", count: 2, accuracy: 0.5 }] },
    ...{ confusion: [[1, 1]], predictions: [0, 1] },
  };
  const target = (name: string, value: object, read: (folder: string) => Promise<unknown>) =>
    fileTarget(name, at(name), [Buffer.from(JSON.stringify(value))], () => read(folder));
  return [
    target("run.json", record, readRunFile),
    target("metrics.jsonl", epoch, readMetrics),
    target("test.json", test, readTest),
  ];
}

function study(): Target {
  const texts = ["quick", "cifar10", "original"].map((name) =>
    readFileSync(new URL(`../../../studies/${name}.yaml`, import.meta.url)),
  );
  const anchors = Buffer.from(
    "name: x\ndata: &d { source: shapes }\nmodel: &m { name: resnet14 }\nvariants: { a: { model: *m }, b: {} }\n",
  );
  return {
    name: "study file",
    seeds: [...texts, anchors],
    read: async (bytes) => parseStudy(bytes.toString("utf8"), "x.yaml"),
  };
}

/** What a report reads beside the records of runs. */
function reported(folder: string): Target[] {
  const study = join(folder, "reported");
  const run = join(study, "se", "seed-1");
  for (const path of [study, run]) mkdirSync(join(path, "cam"), { recursive: true });
  const scores = {
    layer: "layer1",
    images: [
      { index: 0, label: 1, predicted: 0, probability: 0.75 },
      { index: 3, label: 0, predicted: 0, probability: 0.5 },
    ],
    methods: {
      "grad-cam": {
        ...{ insertion: [0.5, 0.25], deletion: [0.125, 0.5], road: [0.5, -0.25], drop: [0.5, 0] },
        ...{ increase: [0, 1], pointing: [1, 0], sanity: [0.5, 0.25] },
      },
    },
  };
  const maps = new Map([
    ["map.grad-cam", { shape: [2, 2, 2], values: Float32Array.of(1, 0, 0, 0.5, 0, 1, 0, 0) }],
    ["gate.layer1.0.se", { shape: [2, 3], values: Float32Array.of(0, 0.5, 1, 1, 0.5, 0) }],
  ]);
  const pictures = {
    images: { dtype: "U8", shape: [2, 4, 4, 3], data_offsets: [0, 96] },
    labels: { dtype: "I32", shape: [2], data_offsets: [96, 104] },
    masks: { dtype: "U8", shape: [2, 4, 4], data_offsets: [104, 136] },
  };
  const head = Buffer.from(JSON.stringify(pictures));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const whole = {
    "scores.json": Buffer.from(JSON.stringify(scores)),
    "maps.safetensors": Buffer.from(writeSafetensors(maps)),
    "images.safetensors": Buffer.concat([length, head, Buffer.alloc(136, 1)]),
  };
  const places = {
    "scores.json": join(run, "cam", "scores.json"),
    "maps.safetensors": join(run, "cam", "maps.safetensors"),
    "images.safetensors": join(study, "cam", "images.safetensors"),
  };
  const record: RunRecord = {
    folder: run,
    file: { atento: "0.1.0", settings, environment: {}, status: "done", startedAt: "" },
    ...{ epochs: [], timings: [] },
  };
  const heatmaps = (Object.keys(places) as (keyof typeof places)[]).map(
    (name): Target => ({
      name: `heatmaps: ${name}`,
      seeds: [whole[name]],
      read: async (bytes) => {
        for (const [other, path] of Object.entries(places)) {
          writeFileSync(path, other === name ? bytes : whole[other as keyof typeof whole]);
        }
        const explained = await readRunScores(run);
        await heatmapsOf(study, [{ ...record, explained }], 2);
      },
    }),
  );
  const seed = Buffer.from(JSON.stringify(studyFileOf("photos", [settings], "0.1.0", "atento study photos")));
  const file = fileTarget("study.json", join(study, "study.json"), [seed], () => readStudyFile(study));
  return [file, ...heatmaps];
}
