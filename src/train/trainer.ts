import { access } from "node:fs/promises";
import { UserError } from "../tensor/errors.ts";
import { Checkpoints, readTrainedRun } from "./checkpoint.ts";
import { environmentOf, version } from "./environment.ts";
import { evaluate } from "./evaluate.ts";
import { figuresOf, meansOf } from "./figures.ts";
import { addBatch } from "./metrics.ts";
import { Pace, throttle } from "./pace.ts";
import {
  readMetrics,
  readTest,
  refuseOtherRun,
  runPaths,
  writeMetrics,
  writeRunFile,
  writeTest,
} from "./run-folder.ts";
import { learningRate } from "./schedules.ts";
import { type EvaluationPart, openSession, type Session } from "./session.ts";
import { afterEpoch, initialState, type TrainState } from "./state.ts";
import { saveTrained } from "./trained.ts";
import type { EpochRecord, Evaluation, RunFigures, RunFile, TrainRequest, TrainResult } from "./types.ts";
import { writeWeights } from "./weights.ts";

/**
 * Trains a run to its end, from its newest whole checkpoint when there is one: the final weights then have the
 * same bits as if it had never been interrupted.
 *
 * @throws UserError when the folder holds another run or cannot be written, when settings and data do not fit,
 * or when the loss is no longer finite.
 */
export async function trainRun(request: TrainRequest): Promise<TrainResult> {
  const { folder, settings, dataset, engine } = request;
  const known = await readTrainedRun(folder);
  if (known) {
    refuseOtherRun(folder, known.settings, settings);
    const finished = await resultOf(folder, known, settings.train.epochs);
    if (finished) return finished;
  }
  const checkpoints = new Checkpoints(folder);
  if (!known && (await checkpoints.steps()).length > 0) {
    throw new UserError(`${folder}: holds checkpoints, but no run.json that says of what: remove the folder`);
  }
  const session = openSession(settings, dataset, engine);
  const startedAt = known?.startedAt ?? new Date().toISOString();
  const environment = environmentOf(engine);
  const write = (status: RunFile["status"], figures?: RunFigures) =>
    writeRunFile(folder, { atento: version, settings, environment, status, startedAt, figures });
  try {
    await write("running");
    const result = await new Training(request, session, checkpoints).run();
    await write(result.status, result.figures);
    return result;
  } catch (error) {
    // the cause matters more than that the record of it cannot be written
    await write("failed").catch(() => undefined);
    throw error;
  } finally {
    await session.close();
  }
}

/** What a finished run came to; undefined when it is not finished, or not all of it is there. */
async function resultOf(folder: string, { status, settings, figures }: RunFile, epochs: number) {
  if (status !== "done" || settings.train.epochs !== epochs || !figures) return undefined;
  const [records, test] = [await readMetrics(folder), await readTest(folder)];
  const hasModel = await access(runPaths(folder).model).then(
    () => true,
    () => false,
  );
  return test && hasModel && records.length > 0
    ? ({ status, epochs: records, figures, test } as const)
    : undefined;
}

class Training {
  readonly #request: TrainRequest;
  readonly #session: Session;
  readonly #checkpoints: Checkpoints;
  readonly #pace = new Pace();
  readonly #due = throttle();
  readonly #startedAt = performance.now();
  #state: TrainState;
  /** Step and step in epoch of the newest checkpoint: nothing is written twice. */
  #saved = "";

  constructor(request: TrainRequest, session: Session, checkpoints: Checkpoints) {
    this.#request = request;
    this.#session = session;
    this.#checkpoints = checkpoints;
    this.#state = initialState(request.settings.train);
  }

  async run(): Promise<TrainResult> {
    const { onProgress, signal, settings } = this.#request;
    const { epochs } = settings.train;
    await this.#resume();
    const { stepsPerEpoch } = this.#session;
    onProgress?.({ kind: "start", epochs, stepsPerEpoch, resumedStep: this.#state.step });
    try {
      while (!this.#state.stopped && this.#state.epoch < epochs) await this.#epoch();
      return await this.#finish();
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
      await this.#save();
      return { status: "interrupted", epochs: this.#state.records };
    } finally {
      await this.#checkpoints.settle();
    }
  }

  /** Goes back to the newest checkpoint. A fresh run starts from its seed. */
  async #resume(): Promise<void> {
    const { store } = this.#session;
    await this.#checkpoints.prepare();
    const checkpoint = await this.#checkpoints.newest([...store.variables.values()]);
    if (checkpoint) {
      writeWeights(store, checkpoint.weights);
      this.#state = checkpoint.state;
    }
    this.#saved = this.#moment;
    await writeMetrics(this.#request.folder, this.#state.records);
  }

  /** What is left of the epoch under way, its validation, its record. */
  async #epoch(): Promise<void> {
    const { folder, signal, onProgress, settings } = this.#request;
    while (this.#state.stepInEpoch < this.#session.stepsPerEpoch) {
      signal?.throwIfAborted();
      this.#checkpoints.throwIfFailed();
      await this.#step();
    }
    const { validation } = this.#session;
    const judged = validation && (await this.#evaluate(validation, "validation"));
    const record = this.#record(judged);
    this.#state = afterEpoch(this.#state, record, settings.train, this.#session.monitors);
    await this.#save();
    await writeMetrics(folder, this.#state.records);
    onProgress?.({ kind: "epoch", record });
  }

  async #step(): Promise<void> {
    const { loader, training, optimizer } = this.#session;
    const { step, epoch, stepInEpoch } = this.#state;
    let began = performance.now();
    const batch = await loader.batch(epoch, stepInEpoch);
    const waitedMs = performance.now() - began;
    const program = training.of(batch.count); // compiled at first, which is no time of training
    const { images, labels } = batch;
    const lr = this.#rate(step);
    const rates = optimizer.rates(step, lr);
    began = performance.now();
    const { loss, logits } = await program.run({ images, labels, rates });
    const trainedMs = waitedMs + performance.now() - began;
    const when = `in step ${stepInEpoch + 1} of epoch ${epoch + 1}, at the rate ${Number(lr.toPrecision(3))}`;
    this.#expectFinite("loss", loss[0], when);
    this.#pace.step(trainedMs);
    const sums = addBatch(this.#state.sums, batch, { loss: loss[0], logits, trainedMs });
    this.#state = { ...this.#state, step: step + 1, stepInEpoch: stepInEpoch + 1, sums };
    this.#report();
  }

  /** Of the step after `step` steps. */
  #rate(step: number): number {
    const { epochs, schedule, optimizer } = this.#request.settings.train;
    const { stepsPerEpoch, warmupSteps } = this.#session;
    const lr = this.#state.plateau?.lr ?? optimizer.lr;
    return learningRate(schedule, lr, { step, stepsPerEpoch, epochs }, warmupSteps);
  }

  #expectFinite(what: string, value: number, when: string): void {
    if (Number.isFinite(value)) return;
    throw new UserError(
      `${this.#request.folder}: the ${what} became ${value} ${when}: lower train.optimizer.lr or add train.warmup, ` +
        "and train in another folder; the last checkpoint is kept",
    );
  }

  #report(): void {
    const { onProgress, settings } = this.#request;
    if (!onProgress || !this.#due()) return;
    const { epoch, stepInEpoch, sums } = this.#state;
    const { stepsPerEpoch, validation, test } = this.#session;
    const epochs = settings.train.epochs - epoch;
    onProgress({
      kind: "step",
      epoch: epoch + 1,
      step: stepInEpoch,
      stepsPerEpoch,
      ...meansOf(sums),
      remainingMs: this.#pace.remainingMs({
        steps: epochs * stepsPerEpoch - stepInEpoch,
        evaluations: epochs * (validation?.loader.stepsPerEpoch ?? 0) + test.loader.stepsPerEpoch,
      }),
    });
  }

  async #evaluate(part: EvaluationPart, what: "validation" | "test"): Promise<Evaluation> {
    const { signal, onProgress } = this.#request;
    const began = performance.now();
    const evaluation = await evaluate({ ...part, signal, onProgress });
    this.#pace.evaluated(part.loader.stepsPerEpoch, performance.now() - began);
    this.#expectFinite(`${what} loss`, evaluation.loss, `after step ${this.#state.step}`);
    return evaluation;
  }

  #record(validation: Evaluation | undefined): EpochRecord {
    const { epoch, step, sums } = this.#state;
    const { loss, accuracy, imagesPerSecond } = meansOf(sums);
    return {
      epoch: epoch + 1,
      step,
      lr: this.#rate(step - 1),
      trainLoss: loss,
      trainAccuracy: accuracy,
      ...(validation && { validationLoss: validation.loss, validationAccuracy: validation.accuracy }),
      elapsedMs: this.#elapsedMs,
      imagesPerSecond,
    };
  }

  get #elapsedMs(): number {
    return this.#state.elapsedMs + performance.now() - this.#startedAt;
  }

  get #moment(): string {
    return `${this.#state.step}.${this.#state.stepInEpoch}`;
  }

  async #save(): Promise<void> {
    if (this.#saved === this.#moment) return;
    const state = { ...this.#state, elapsedMs: this.#elapsedMs };
    await this.#checkpoints.save(this.#session.store, state);
    this.#saved = this.#moment;
  }

  /** The end of a run: its final weights, their figures on the test set, its model file. */
  async #finish(): Promise<TrainResult> {
    const { folder, settings } = this.#request;
    const { store, normalization } = this.#session;
    const record = await this.#chooseWeights();
    const test = await this.#evaluate(this.#session.test, "test");
    const figures = figuresOf(settings, this.#state.records, record, test, this.#elapsedMs);
    await saveTrained(runPaths(folder).model, store, settings, normalization);
    await writeTest(folder, test);
    return { status: "done", epochs: this.#state.records, figures, test };
  }

  /** Puts the weights of the best epoch into the store when that is asked for, and returns the epoch's record. */
  async #chooseWeights(): Promise<EpochRecord> {
    const { records, best, step } = this.#state;
    if (!this.#request.settings.train.earlyStopping?.restoreBest || !best || best.step === step) {
      return records[records.length - 1];
    }
    const { store } = this.#session;
    await this.#checkpoints.settle();
    const { weights } = await this.#checkpoints.read(best.step, [...store.variables.values()]);
    writeWeights(store, weights);
    return records[best.epoch - 1];
  }
}
