import type { FlatProgram } from "../compile/lower.ts";
import { createEngine, type EngineOptions } from "../engine/create.ts";
import { NativeEngine, type NativeExecutable } from "../engine/native.ts";
import { resolveModel } from "../models/options.ts";
import { Variables } from "../nn/scope.ts";
import { Random } from "../random/random.ts";
import { UserError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { evaluationGraph, trainingGraph } from "../train/graphs.ts";
import { createOptimizer } from "../train/optimizers.ts";
import { middle } from "./turns.ts";

/** What every program of a table computes. */
export interface Workload {
  readonly stem: string;
  readonly attention: string;
  readonly batch: number;
  /** Timed steps, after two that are not. */
  readonly steps: number;
  readonly threads: number;
}

/** How our own engine computes it. */
export type Variant = Pick<EngineOptions, "isa" | "passes">;

/** What one measurement of one program says. */
export interface Measurement {
  /** Absent when the program cannot train. */
  readonly trainImagesPerSecond?: number;
  readonly inferImagesPerSecond: number;
  /** Of a process that trained; absent when it could not, or trained on another batch than asked for. */
  readonly peakRssMiB?: number;
  /** Trained values of the model: equal in all programs. */
  readonly parameters: number;
  readonly version?: string;
  /** Why a figure is missing. */
  readonly note?: string;
  /** Of the multiply-adds of training's convolutions, two operations each. */
  readonly gflops?: number;
  /** gflops over what the processor reaches on registers alone, measured in the same process. */
  readonly shareOfPeak?: number;
  readonly peakGflops?: number;
  /** Where the time of a training step goes. */
  readonly profile?: readonly RecordTime[];
}

export interface RecordTime {
  readonly kernel: string;
  readonly label: string;
  readonly ms: number;
  readonly gflops: number;
  readonly gigabytesPerSecond: number;
}

/** A training step of ResNet-50 on random 32×32 images, compiled. */
export function trainingStep({ stem, attention, batch, threads }: Omit<Workload, "steps">, variant: Variant) {
  const engine = createEngine({ ...variant, threads, engine: "native" });
  if (!(engine instanceof NativeEngine)) throw new UserError("the benchmark needs the native engine");
  const model = resolveModel({ name: "resnet50", stem, attention }, 10);
  const variables = new Variables(1);
  const optimizer = createOptimizer({ name: "sgd", lr: 0.1, momentum: 0.9, weightDecay: 5e-4 });
  const shape = { batch, image: [32, 32] as const };
  const training = trainingGraph(model, variables, optimizer, shape);
  const store = engine.open(variables.all());
  const step = store.compile(training);
  const random = new Random("bench");
  const images = Float32Array.from({ length: batch * 3 * 32 * 32 }, () => random.normal());
  const labels = Float32Array.from({ length: batch }, () => random.int(10));
  const run = () => step.run({ images, labels, rates: optimizer.rates(0, 0.1) });
  return { engine, model, variables, shape, store, step, images, labels, run };
}

/** Times training steps and inference of ResNet-50 on random 32×32 images in this process; medians. */
export async function measure(workload: Workload, variant: Variant, profiled = false): Promise<Measurement> {
  const { batch, steps } = workload;
  const { engine, model, variables, shape, store, step, images, labels, run } = trainingStep(
    workload,
    variant,
  );
  const train = await median(steps, run, () => step.resetTimes());
  const profile = profiled ? profileOf(step, steps) : undefined;
  const peakRssMiB = process.resourceUsage().maxRSS / 1024;
  const inference = store.compile(evaluationGraph(model, variables, shape), { keepsWeights: true });
  const infer = await median(steps, () => inference.run({ images, labels }));
  const multiplyAdds = step.program.records.reduce((sum, record) => sum + record.multiplyAdds, 0);
  const gflops = (2 * multiplyAdds) / train / 1e9;
  const peakGflops = (2 * engine.peak()) / 1e9;
  return {
    trainImagesPerSecond: batch / train,
    inferImagesPerSecond: batch / infer,
    peakRssMiB,
    parameters: variables.tensors("parameter").reduce((sum, x) => sum + sizeOf(x.shape), 0),
    gflops,
    peakGflops,
    shareOfPeak: gflops / peakGflops,
    profile,
  };
}

async function median(
  times: number,
  run: () => Promise<unknown>,
  warm: () => void = () => {},
): Promise<number> {
  await run();
  await run();
  warm();
  const seconds: number[] = [];
  for (let k = 0; k < times; k++) {
    const start = performance.now();
    await run();
    seconds.push((performance.now() - start) / 1000);
  }
  return middle(seconds);
}

function profileOf(step: NativeExecutable, steps: number): RecordTime[] {
  const seconds = step.times();
  return step.program.records.map((record: FlatProgram["records"][number], k) => {
    const floats = record.operands.reduce((sum, place) => sum + place.floats, 0);
    const time = seconds[k] / steps;
    return {
      kernel: record.kernel,
      label: record.label,
      ms: 1000 * time,
      gflops: (2 * record.multiplyAdds) / time / 1e9,
      gigabytesPerSecond: (4 * floats) / time / 1e9,
    };
  });
}
