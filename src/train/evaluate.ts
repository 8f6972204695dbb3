import type { Graph } from "../compile/graph.ts";
import type { Loader } from "../data/loader.ts";
import type { CompileOptions, Executable, Store } from "../engine/engine.ts";
import { unlessAborted } from "./abort.ts";
import { evaluationOf, predictedClasses } from "./metrics.ts";
import { throttle } from "./pace.ts";
import type { Evaluation, RunProgress } from "./types.ts";

/** Programs of one store for batches of any size, each compiled at its first use. */
export class Programs {
  readonly #programs = new Map<number, Executable>();
  readonly #store: Store;
  readonly #build: (batch: number) => Graph;
  readonly #options: CompileOptions;

  constructor(store: Store, build: (batch: number) => Graph, options: CompileOptions = {}) {
    this.#store = store;
    this.#options = options;
    this.#build = build;
  }

  of(batch: number): Executable {
    const known = this.#programs.get(batch);
    if (known) return known;
    const program = this.#store.compile(this.#build(batch), this.#options);
    this.#programs.set(batch, program);
    return program;
  }
}

export interface EvaluationJob {
  /** Of evaluation graphs. */
  readonly programs: Programs;
  /** Gives every image once an epoch, in order. */
  readonly loader: Loader;
  /** Images there are. */
  readonly count: number;
  readonly classes: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RunProgress) => void;
}

/** Loss, accuracy, per class, confusion and predictions. @throws the signal's reason when it is aborted. */
export async function evaluate(job: EvaluationJob): Promise<Evaluation> {
  const { programs, loader, classes, count: total, signal, onProgress } = job;
  const labels: number[] = [];
  const predictions: number[] = [];
  const due = throttle();
  let lossSum = 0;
  for (let step = 0; step < loader.stepsPerEpoch; step++) {
    signal?.throwIfAborted();
    const batch = await loader.batch(0, step);
    const run = programs.of(batch.count).run({ images: batch.images, labels: batch.labels });
    const { loss, logits } = await unlessAborted(run, signal);
    lossSum += loss[0] * batch.count;
    labels.push(...batch.labels);
    predictions.push(...predictedClasses(logits, batch.count));
    if (due()) onProgress?.({ kind: "evaluate", done: labels.length, total });
  }
  return evaluationOf(classes, labels, predictions, lossSum);
}
