import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Options } from "../attention/spec.ts";
import { gradient } from "../autodiff/gradient.ts";
import { Explainer } from "../cam/explainer.ts";
import { methods } from "../cam/methods/registry.ts";
import type { CamMethod } from "../cam/spec.ts";
import { createEngine } from "../engine/create.ts";
import { buildModel } from "../models/build.ts";
import { resolveModel } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { constant } from "../ops/shape.ts";
import { Random } from "../random/random.ts";
import { rate } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { middle } from "./turns.ts";

/** Heatmaps of ResNet-50 on random 32×32 images. */
export interface CamWorkload {
  readonly stem: string;
  readonly attention: string;
  /** Explained a measurement. */
  readonly images: number;
  readonly rounds: number;
  readonly threads: number;
}

/** Images a second, medians over the rounds. */
export interface CamSpeeds {
  /** Forward and backward to the pixels, in evaluation mode. */
  readonly forwardBackward: number;
  /** By method, at the last stage; of those that run the network once a noisy copy, copies a second. */
  readonly methods: Readonly<Record<string, number>>;
  readonly opponents: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, string>>;
}

const BATCH = 64;
const CLASSES = 10;
const IMAGE: readonly [number, number] = [32, 32];
/** Each channel of each image is a run of the network: not compared with a single one. */
const MANY_RUNS = ["score-cam", "ablation-cam"];
const COPIES = 4;
/** The method that others have too explains all images, the rest these. */
const COMPARED = "grad-cam";
const FEW = 4 * BATCH;

/** Measures in turns: what slows the machine for a while meets all alike. */
export async function measureCam(workload: CamWorkload, python: string | undefined): Promise<CamSpeeds> {
  const { stem, attention, images: count, rounds, threads } = workload;
  const engine = createEngine({ threads });
  const model = resolveModel({ name: "resnet50", stem, attention }, CLASSES);
  const variables = new Variables(1);
  const { images, logits } = buildModel(model, variables, { batch: BATCH, image: IMAGE, training: false });
  const weights = new Map(
    variables.all().map(({ name, shape, initialize }) => {
      const values = new Float32Array(sizeOf(shape));
      initialize(values);
      return [name, values];
    }),
  );
  const random = new Random("bench");
  const pixels = Float32Array.from({ length: Math.max(count, FEW) * sizeOf([3, ...IMAGE]) }, () =>
    random.normal(),
  );
  const store = engine.open(variables.all());
  const [dx] = gradient(logits, constant(logits.shape, 1), [images]);
  const whole = store.compile({ outputs: { logits, dx }, effects: [] }, { keepsWeights: true });
  const explainer = new Explainer(
    { model, image: IMAGE, weights, classes: new Array<string>(CLASSES).fill("") },
    engine,
  );
  const batch = sizeOf(images.shape);
  const size = batch / BATCH;
  const runs = new Map<string, () => Promise<unknown>>();
  runs.set("forward and backward", async () => {
    for (let at = 0; at < FEW * size; at += batch) {
      await whole.run({ images: pixels.subarray(at, at + batch) });
    }
  });
  const asked = [...methods.values()]
    .filter(({ name }) => !MANY_RUNS.includes(name))
    .map((method): { method: CamMethod; options: Options } => ({
      method,
      options: "samples" in method.options ? { samples: COPIES } : {},
    }));
  const imagesOf = (name: string) => (name === COMPARED ? count : FEW);
  for (const one of asked) {
    const own = pixels.subarray(0, imagesOf(one.method.name) * size);
    runs.set(one.method.name, () => explainer.maps({ images: own, methods: [one] }));
  }
  const passesOf = (name: string) =>
    imagesOf(name) * ("samples" in (methods.get(name)?.options ?? {}) ? COPIES : 1);
  const speeds = new Map<string, number[]>();
  const opponents: Record<string, number[]> = {};
  const failures: Record<string, string> = {};
  // whole batches and the rest are compiled, and warm, before the clock starts
  const sizes = (name: string) => [BATCH, ...(name === COMPARED && count % BATCH > 0 ? [count % BATCH] : [])];
  await whole.run({ images: new Float32Array(batch) });
  for (const { method, options } of asked) {
    for (const n of sizes(method.name))
      await explainer.maps({ images: pixels.subarray(0, n * size), methods: [{ method, options }] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of runs) {
      const start = performance.now();
      await run();
      const speed = (1000 * passesOf(name)) / (performance.now() - start);
      speeds.set(name, [...(speeds.get(name) ?? []), speed]);
    }
    for (const mode of python === undefined ? [] : ["", "channels_last"]) {
      const name = `pytorch-grad-cam${mode ? ", channels last" : ""}`;
      if (name in failures) continue;
      try {
        opponents[name] = [...(opponents[name] ?? []), await torchSpeed(python!, workload, mode)];
      } catch (error) {
        const said = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
        failures[name] = said.trim().split("\n").pop() ?? "failed";
      }
    }
  }
  store.close();
  explainer.close();
  const medians = (all: Iterable<readonly [string, number[]]>) =>
    Object.fromEntries([...all].map(([name, values]) => [name, middle(values)]));
  const { "forward and backward": forwardBackward, ...own } = medians(speeds);
  return { forwardBackward, methods: own, opponents: medians(Object.entries(opponents)), failures };
}

async function torchSpeed(python: string, { stem, attention, images, threads }: CamWorkload, mode: string) {
  const script = join(dirname(fileURLToPath(import.meta.url)), "../../bench/torch_cam.py");
  const given = [script, stem, attention, `${BATCH}`, `${images}`, ...(mode ? [mode] : [])];
  const env = { ...process.env, THREADS: `${threads}` };
  const { stdout } = await promisify(execFile)(python, given, { env, maxBuffer: 2 ** 24 });
  return (JSON.parse(stdout.trim().split("\n").pop()!) as { imagesPerSecond: number }).imagesPerSecond;
}

/** A table of methods, then how Grad-CAM compares with the others. */
export function camText({ stem, attention, images, threads }: CamWorkload, speeds: CamSpeeds): string {
  const rows = [
    { name: "forward and backward", speed: speeds.forwardBackward },
    ...Object.entries(speeds.methods).map(([name, speed]) => ({ name, speed })),
    ...Object.entries(speeds.opponents).map(([name, speed]) => ({ name: `${name}: grad-cam`, speed })),
  ];
  const columns: Column<(typeof rows)[number]>[] = [
    { title: "", cell: ({ name }) => name },
    { title: "images/s", align: "right", cell: ({ speed }) => rate(speed) },
    {
      title: "of forward and backward",
      align: "right",
      cell: ({ speed }) => `${((100 * speed) / speeds.forwardBackward).toFixed(0)} %`,
    },
  ];
  const best = Math.max(...Object.values(speeds.opponents));
  return [
    `heatmaps of ResNet-50, stem ${stem}, attention ${attention}, ${images} images, ${threads} threads`,
    textTable(columns, rows),
    ...(Number.isFinite(best)
      ? [`Grad-CAM: ${(speeds.methods["grad-cam"] / best).toFixed(2)} times pytorch-grad-cam`]
      : []),
    ...Object.entries(speeds.failures).map(([name, why]) => `${name}: ${why}`),
  ].join("\n");
}
