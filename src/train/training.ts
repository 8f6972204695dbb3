import type { FolderLock } from "../files/lock.ts";
import { unlessAborted } from "./abort.ts";
import { Checkpoints } from "./checkpoint.ts";
import { CheckpointKeeper } from "./checkpoint-keeper.ts";
import { Diverged } from "./diverged.ts";
import { evaluate } from "./evaluate.ts";
import { figuresOf, meansOf } from "./figures.ts";
import { layerOfEvaluation, layerOfStep } from "./inspection.ts";
import { addBatch } from "./metrics.ts";
import { Pace, throttle } from "./pace.ts";
import { runPaths } from "./run-data.ts";
import { writeMetrics, writeTest } from "./run-folder.ts";
import type { EvaluationPart, Session } from "./session.ts";
import { afterEpoch, initialState, type TrainState } from "./state.ts";
import { type StepOutputs, Steps } from "./steps.ts";
import { saveTrained } from "./trained.ts";
import type { EpochRecord, EpochTiming, Evaluation, TrainRequest, TrainResult } from "./types.ts";
import { writeWeights } from "./weights.ts";

const CHECKPOINT_MS = 120_000;
/** A step that takes longer is not waited for when the run is interrupted: it is done again. */
const LONG_STEP_MS = 1500;
const GRACE_MS = 300;

/** A run under way, in a folder that is locked. */
export class Training {
  readonly #request: TrainRequest;
  readonly #session: Session;
  readonly #lock: FolderLock;
  readonly #checkpoints: Checkpoints;
  readonly #keeper: CheckpointKeeper;
  readonly #steps: Steps;
  readonly #pace = new Pace();
  readonly #due = throttle();
  readonly #startedAt = performance.now();
  #state: TrainState;
  /** Whether the variables are those of the state: not while a step runs, nor once numbers are no longer finite. */
  #whole = true;
  #stepMs = Number.POSITIVE_INFINITY;
  #savedAt = performance.now();
  /** Step and step in epoch of the newest checkpoint: nothing is written twice. */
  #saved: string;

  constructor(request: TrainRequest, session: Session, lock: FolderLock) {
    this.#request = request;
    this.#session = session;
    this.#lock = lock;
    this.#checkpoints = new Checkpoints(request.folder);
    this.#keeper = new CheckpointKeeper(request.folder, this.#checkpoints, session.store);
    this.#steps = new Steps(session, request.settings.train);
    this.#state = initialState(request.settings.train);
    this.#saved = this.#moment; // there is nothing to save yet
  }

  async run(): Promise<TrainResult> {
    const { signal } = this.#request;
    try {
      const result = await this.#train();
      await this.#keeper.settle();
      return result;
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) {
        // what was trained stays, and the cause matters more than that it cannot be saved
        await this.#keep().catch(() => undefined);
        throw error;
      }
      await this.#keep();
      return { status: "interrupted", epochs: this.#state.records };
    } finally {
      await this.#keeper.close();
    }
  }

  async #train(): Promise<TrainResult> {
    const { onProgress, settings } = this.#request;
    const { stepsPerEpoch, bytes } = this.#session;
    const { epochs } = settings.train;
    await this.#resume();
    onProgress?.({ kind: "start", epochs, stepsPerEpoch, resumedStep: this.#state.step, bytes });
    while (!this.#state.stopped && this.#state.epoch < epochs) await this.#epoch();
    return this.#finish();
  }

  /** Goes back to the newest checkpoint. A fresh run starts from its seed. */
  async #resume(): Promise<void> {
    const { folder, onProgress } = this.#request;
    const { store } = this.#session;
    await this.#checkpoints.prepare();
    const checkpoint = await this.#checkpoints.newest([...store.variables.values()], (text) =>
      onProgress?.({ kind: "note", text }),
    );
    if (checkpoint) {
      writeWeights(store, checkpoint.weights);
      this.#state = checkpoint.state;
    }
    this.#saved = this.#moment;
    await writeMetrics(folder, this.#state.records, this.#state.clock.timings);
  }

  /** What is left of the epoch under way, its validation, its record. */
  async #epoch(): Promise<void> {
    const { folder, signal, onProgress, settings, checkpointMs = CHECKPOINT_MS } = this.#request;
    while (this.#state.stepInEpoch < this.#session.stepsPerEpoch) {
      signal?.throwIfAborted();
      this.#keeper.throwIfFailed();
      await this.#step();
      this.#report();
      if (performance.now() - this.#savedAt >= checkpointMs && !this.#keeper.busy) await this.#save();
    }
    const { validation } = this.#session;
    const judged = validation && (await this.#evaluate(validation, "validation"));
    const [record, timing] = [this.#record(judged), this.#timing()];
    this.#state = afterEpoch(this.#state, record, timing, settings.train, this.#session.monitors);
    await this.#save();
    await writeMetrics(folder, this.#state.records, this.#state.clock.timings);
    onProgress?.({ kind: "epoch", record, timing });
  }

  async #step(): Promise<void> {
    const began = performance.now();
    const outputs = await this.#run();
    const trainedMs = performance.now() - began;
    const { batch, loss } = outputs;
    if (!Number.isFinite(loss)) throw await this.#divergedInStep(loss);
    const { step, stepInEpoch, sums, clock } = this.#state;
    this.#state = {
      ...this.#state,
      step: step + 1,
      stepInEpoch: stepInEpoch + 1,
      sums: addBatch(sums, batch, outputs),
      clock: { ...clock, trainedMs: clock.trainedMs + trainedMs },
    };
    this.#whole = true;
    this.#stepMs = trainedMs;
    this.#pace.step(trainedMs);
  }

  /** Runs the next step; before a long one, what it overwrites is copied. @throws the signal's reason. */
  async #run(): Promise<StepOutputs> {
    const batch = await this.#steps.batch(this.#state);
    const long = this.#stepMs > LONG_STEP_MS;
    if (long && this.#saved !== this.#moment) this.#keeper.hold(this.#timed());
    this.#whole = false;
    const run = this.#steps.run(this.#state, batch);
    return long ? unlessAborted(run, this.#request.signal, GRACE_MS) : run;
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
      imagesPerSecond: this.#imagesPerSecond,
      remainingMs: this.#pace.remainingMs({
        steps: epochs * stepsPerEpoch - stepInEpoch,
        evaluations: epochs * (validation?.loader.stepsPerEpoch ?? 0) + test.loader.stepsPerEpoch,
      }),
    });
  }

  async #evaluate(part: EvaluationPart, what: "validation" | "test"): Promise<Evaluation> {
    const { signal, onProgress, folder } = this.#request;
    const began = performance.now();
    const evaluation = await evaluate({ ...part, signal, onProgress });
    this.#pace.evaluated(part.loader.stepsPerEpoch, performance.now() - began);
    if (Number.isFinite(evaluation.loss)) return evaluation;
    this.#whole = false;
    const layer = await this.#tell(layerOfEvaluation(this.#session, part));
    const when = `after step ${this.#state.step}`;
    throw new Diverged(folder, `the ${what} loss became ${evaluation.loss} ${when}${layer}`);
  }

  async #divergedInStep(loss: number): Promise<Diverged> {
    const { folder, onProgress } = this.#request;
    const { epoch, stepInEpoch } = this.#state;
    const rate = Number(this.#steps.rate(this.#state).toPrecision(3));
    const what = `the loss became ${loss} in step ${stepInEpoch + 1} of epoch ${epoch + 1}, at the rate ${rate}`;
    onProgress?.({
      kind: "note",
      text: `${what}: training again from the last checkpoint to see which layer went first`,
    });
    try {
      await this.#keeper.settle(); // the newest checkpoint is that of this epoch
    } catch (error) {
      if (error instanceof Diverged) return error; // found before, and the cause
    }
    const layer = layerOfStep(this.#session, this.#steps, this.#checkpoints, this.#state);
    return new Diverged(folder, `${what}${await this.#tell(layer)}`);
  }

  /** What was found out, unless that is interrupted or fails: the loss alone says enough to stop. */
  async #tell(finding: Promise<string | undefined>): Promise<string> {
    const layer = await unlessAborted(finding, this.#request.signal).catch(() => "");
    if (layer === "") return "";
    return `; ${layer ?? "the output of every layer is finite: the loss itself went first"}`;
  }

  #record(validation: Evaluation | undefined): EpochRecord {
    const { epoch, step, plateau, sums } = this.#state;
    const { loss, accuracy } = meansOf(sums);
    return {
      epoch: epoch + 1,
      step,
      lr: this.#steps.rate({ step: step - 1, plateau }),
      trainLoss: loss,
      trainAccuracy: accuracy,
      ...(validation && { validationLoss: validation.loss, validationAccuracy: validation.accuracy }),
    };
  }

  #timing(): EpochTiming {
    return {
      epoch: this.#state.epoch + 1,
      elapsedMs: this.#elapsedMs,
      imagesPerSecond: this.#imagesPerSecond,
    };
  }

  get #imagesPerSecond(): number {
    const { sums, clock } = this.#state;
    return (1000 * sums.images) / clock.trainedMs;
  }

  get #elapsedMs(): number {
    return this.#state.clock.elapsedMs + performance.now() - this.#startedAt;
  }

  /** The state with the time it took so far. */
  #timed(): TrainState {
    return { ...this.#state, clock: { ...this.#state.clock, elapsedMs: this.#elapsedMs } };
  }

  get #moment(): string {
    return `${this.#state.step}.${this.#state.stepInEpoch}`;
  }

  async #save(): Promise<void> {
    if (this.#saved === this.#moment) return;
    await this.#lock.expectHeld();
    await this.#keeper.save(this.#timed());
    this.#saved = this.#moment;
    this.#savedAt = performance.now();
  }

  /** Saves what is trained; where a step was left to itself, from the copy made before it. */
  async #keep(): Promise<void> {
    if (this.#whole) await this.#save();
    else if (this.#request.signal?.aborted) this.#keeper.writeHeld();
    await this.#keeper.settle();
  }

  /** The end of a run: its final weights, their figures on the test set, its model file. */
  async #finish(): Promise<TrainResult> {
    const { folder, settings } = this.#request;
    const { store, normalization } = this.#session;
    const record = await this.#chooseWeights();
    const test = await this.#evaluate(this.#session.test, "test");
    const { records, clock } = this.#state;
    const figures = figuresOf(settings, record, test, { ...clock, elapsedMs: this.#elapsedMs });
    await saveTrained(runPaths(folder).model, store, settings, normalization);
    await writeTest(folder, test);
    return { status: "done", epochs: records, figures, test };
  }

  /** Puts the weights of the best epoch into the store when that is asked for, and returns the epoch's record. */
  async #chooseWeights(): Promise<EpochRecord> {
    const { records, best, step } = this.#state;
    if (!this.#request.settings.train.earlyStopping?.restoreBest || !best || best.step === step) {
      return records[records.length - 1];
    }
    const { store } = this.#session;
    await this.#keeper.settle();
    const { weights } = await this.#checkpoints.best(best.step, [...store.variables.values()]);
    writeWeights(store, weights);
    return records[best.epoch - 1];
  }
}
