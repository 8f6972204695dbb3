import { freemem } from "node:os";
import { performance } from "node:perf_hooks";
import type { Graph } from "../compile/graph.ts";
import type { Engine, Executable, Store } from "../engine/engine.ts";
import type { ResNet } from "../models/resnet.ts";
import { Variables } from "../nn/scope.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { evaluationGraph, trainingGraph } from "../train/graphs.ts";
import { createOptimizer } from "../train/optimizers.ts";
import type { TrainOptions } from "../train/types.ts";

export interface Pace {
  readonly trainMsPerImage: number;
  readonly evaluateMsPerImage: number;
  /** Images a step that was timed: the run's batch, or fewer where that would take long or much memory. */
  readonly batch: number;
}

const PROBE = 4;
/** The batch timed in the end takes about this long a step, or is the run's own. */
const STEP_MS = 3000;
const STEPS = 2;

/** Times a few real steps of a run on this machine, with made-up images. */
export async function measurePace(
  engine: Engine,
  model: ResNet,
  train: TrainOptions,
  image: readonly [number, number],
): Promise<Pace> {
  const probe = await timeSteps(engine, model, train, image, Math.min(PROBE, train.batch));
  const affordable = Math.min(STEP_MS / probe.trainMs, freemem() / 2 / probe.scratchBytes);
  const batch = Math.min(train.batch, probe.batch * 2 ** Math.floor(Math.log2(Math.max(1, affordable))));
  const timed = batch > probe.batch ? await timeSteps(engine, model, train, image, batch) : probe;
  return {
    trainMsPerImage: timed.trainMs / timed.batch,
    evaluateMsPerImage: timed.evaluateMs / timed.batch,
    batch: timed.batch,
  };
}

interface Timing {
  readonly batch: number;
  readonly trainMs: number;
  readonly evaluateMs: number;
  readonly scratchBytes: number;
}

async function timeSteps(
  engine: Engine,
  model: ResNet,
  train: TrainOptions,
  image: readonly [number, number],
  batch: number,
): Promise<Timing> {
  const variables = new Variables(0);
  const optimizer = createOptimizer(train.optimizer);
  const training = trainingGraph(model, variables, optimizer, {
    ...train,
    batch,
    image,
  });
  const evaluation = evaluationGraph(model, variables, { batch, image });
  // Times do not depend on the values: constants spare the drawing of millions of random numbers.
  const constants = variables.all().map((variable) => ({ ...variable, initialize: fillSmall }));
  const store = engine.open(constants);
  try {
    const rates = optimizer.rates(0, train.optimizer.lr);
    const [trained, evaluated] = [
      await timeGraph(store, training, { rates }),
      await timeGraph(store, evaluation, {}),
    ];
    return {
      batch,
      trainMs: trained.ms,
      evaluateMs: evaluated.ms,
      scratchBytes: trained.scratchBytes,
    };
  } finally {
    store.close();
  }
}

const fillSmall = (values: Float32Array) => {
  values.fill(0.01);
};

/** The fastest of a few runs after a first one that warms up. */
async function timeGraph(store: Store, graph: Graph, given: Record<string, Float32Array>) {
  const executable = store.compile(graph);
  const feeds = { ...madeUp(executable), ...given };
  await executable.run(feeds);
  let ms = Number.POSITIVE_INFINITY;
  for (let step = 0; step < STEPS; step++) {
    const start = performance.now();
    await executable.run(feeds);
    ms = Math.min(ms, performance.now() - start);
  }
  return { ms, scratchBytes: executable.scratchBytes };
}

/** Every input filled with a wave; labels are class 0. */
function madeUp({ inputs }: Executable): Record<string, Float32Array> {
  const wave = (shape: readonly number[]) =>
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i));
  return Object.fromEntries(
    [...inputs].map(([name, shape]) => [
      name,
      name === "images" ? wave(shape) : new Float32Array(sizeOf(shape)),
    ]),
  );
}
