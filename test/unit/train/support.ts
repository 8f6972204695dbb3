import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Values } from "../../../src/compile/graph.ts";
import type { Dataset, Split } from "../../../src/data/dataset.ts";
import { allocateSplit, fingerprintOf } from "../../../src/data/split.ts";
import type { Engine, Executable, Store } from "../../../src/engine/engine.ts";
import { referenceEngine } from "../../../src/engine/reference.ts";
import { floatsOf, readSafetensors } from "../../../src/formats/safetensors.ts";
import { resolveModel } from "../../../src/models/options.ts";
import { Random } from "../../../src/random/random.ts";
import { trainSchema } from "../../../src/train/options.ts";
import type { RunProgress, RunSettings, TrainRequest } from "../../../src/train/types.ts";
import { isCounter } from "../../../src/train/weights.ts";

const SIDE = 8;
const CLASSES = ["red", "green", "blue"];

/** Three classes of 8×8 images, each brighter in one colour, under noise: a few steps learn it. */
export function toyDataset({ train = 22, test = 9, seed = 1 } = {}): Dataset {
  const make = (purpose: string, count: number): Split => {
    const split = allocateSplit(count, SIDE, SIDE);
    const random = new Random("toy", purpose, seed);
    for (let i = 0; i < count; i++) {
      split.labels[i] = i % CLASSES.length;
      for (let p = 0; p < SIDE * SIDE * 3; p++) {
        const bright = p % 3 === split.labels[i] ? 70 : 0;
        split.images[i * SIDE * SIDE * 3 + p] = random.int(186) + bright;
      }
    }
    return split;
  };
  const dataset = {
    classes: CLASSES,
    height: SIDE,
    width: SIDE,
    train: make("train", train),
    test: make("test", test),
  };
  return { name: "toy", ...dataset, fingerprint: fingerprintOf(dataset) };
}

interface Asked {
  readonly model?: object;
  readonly train?: object;
  readonly data?: Partial<RunSettings["data"]>;
  readonly variant?: string;
  readonly seed?: number;
}

/** A run of a model that takes milliseconds a step. */
export function toySettings(
  dataset: Dataset,
  { model, train, data, variant = "plain", seed = 1 }: Asked = {},
) {
  const stem = { channels: 4, kernel: 3, stride: 1, pool: true };
  const options = { name: "resnet14", stem, depths: [1], widths: [4], strides: [1], expansion: 2, ...model };
  const settings: RunSettings = {
    variant,
    seed,
    model: resolveModel(options, dataset.classes.length),
    data: {
      source: { source: "toy" },
      name: dataset.name,
      fingerprint: dataset.fingerprint,
      classes: dataset.classes,
      image: [dataset.height, dataset.width],
      validation: 6,
      normalize: "channel",
      ...data,
    },
    train: trainSchema.parse({ epochs: 3, batch: 5, schedule: "constant", ...train }),
  };
  return settings;
}

type Run = Executable["run"];

/** An engine whose programs run through `around`. */
export function wrapRuns(
  engine: Engine,
  around: (run: Run, feeds: Values, store: Store) => ReturnType<Run>,
): Engine {
  return {
    name: engine.name,
    description: engine.description,
    open: (opened) => {
      const store = engine.open(opened);
      return {
        variables: store.variables,
        snapshotPlan: store.snapshotPlan,
        snapshot: (into) => store.snapshot(into),
        read: (name) => store.read(name),
        write: (name, values) => store.write(name, values),
        compile: (graph) => {
          const program = store.compile(graph);
          return {
            inputs: program.inputs,
            scratchBytes: program.scratchBytes,
            run: (feeds) => around((given) => program.run(given), feeds, store),
          };
        },
        close: () => store.close(),
      };
    },
  };
}

export const makeTemporaryFolder = () => mkdtempSync(join(tmpdir(), "atento-train-"));

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = makeTemporaryFolder();
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function request(folder: string, dataset: Dataset, asked: Asked = {}): TrainRequest {
  return { folder, settings: toySettings(dataset, asked), dataset, engine: referenceEngine };
}

/** The same request, aborted when `when` says so. */
export function abortedWhen(asked: TrainRequest, when: (engineRuns: number, last?: RunProgress) => boolean) {
  const controller = new AbortController();
  let runs = 0;
  let last: RunProgress | undefined;
  const engine = wrapRuns(asked.engine, (run, feeds) => {
    if (when(++runs, last)) controller.abort();
    return run(feeds);
  });
  const onProgress = (progress: RunProgress) => {
    last = progress;
    if (when(runs, last)) controller.abort();
  };
  return { ...asked, engine, onProgress, signal: controller.signal };
}

/** Tensors of a safetensors file, PyTorch's counters of batches aside. */
export function tensorsIn(path: string): Map<string, Float32Array> {
  const { tensors } = readSafetensors(readFileSync(path), path);
  const counted = [...tensors].filter(([name]) => !isCounter(name));
  return new Map(counted.map(([name, tensor]) => [name, floatsOf(tensor)]));
}
