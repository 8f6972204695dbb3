import { memory } from "../engine/memory.ts";
import { counted, duration, percent, rate } from "../report/numbers.ts";
import type { StudyProgress } from "../study/run.ts";
import type { EpochRecord, EpochTiming, RunFigures, RunProgress, RunSettings } from "../train/types.ts";
import type { Bar, Display } from "./display.ts";

type Step = Extract<RunProgress, { kind: "step" }>;

const QUIET_MS = 30_000;

/**
 * Tells what a study or a run does: on a terminal bars for study, run and epoch, else a line an epoch, and one every
 * half minute within a longer epoch.
 */
export class Narrator {
  readonly #show: Display;
  readonly #study: string | undefined;
  readonly #clock = new StudyClock();
  readonly #now: () => number;
  #epochs = 0;
  #step: Step | undefined;
  #saidAt = 0;

  /** @param study its name; absent for a single run. */
  constructor(show: Display, study?: string, now: () => number = Date.now) {
    this.#show = show;
    this.#study = study;
    this.#now = now;
  }

  /** The progress of a run that is on its own. */
  forRun(settings: RunSettings): (progress: RunProgress) => void {
    return (run) => this.report({ settings, index: 0, runs: 1, run });
  }

  report({ settings, index, runs, run }: StudyProgress): void {
    const place = this.#study ? ` (run ${index + 1} of ${runs})` : "";
    switch (run.kind) {
      case "start":
        this.#epochs = run.epochs;
        this.#step = undefined;
        this.#clock.start();
        this.#say(`${nameOf(settings)}${place}: ${startText(run)}`);
        return;
      case "step":
        this.#step = run;
        this.#show.bars(this.#bars({ settings, index, runs, run }, run));
        if (this.#now() - this.#saidAt > QUIET_MS) this.#say(`  ${stepText(run, this.#epochs)}`);
        return;
      case "epoch":
        this.#say(`  ${epochText(run.record, run.timing, this.#epochs)}`);
        return;
      case "note":
        this.#show.line(`note: ${run.text}`);
        return;
      case "evaluate":
        this.#show.bars([
          ...this.#bars({ settings, index, runs, run }, this.#step).slice(0, -1),
          { label: "judge", fraction: run.done / run.total, text: `${run.done} of ${run.total} images` },
        ]);
        return;
      case "explain":
        this.#show.bars([
          ...this.#bars({ settings, index, runs, run }, this.#step).slice(0, -1),
          { label: "explain", fraction: run.done / run.total, text: `${run.done} of ${run.total} images` },
        ]);
        return;
      case "end":
        if (!run.finished) return;
        this.#clock.finish(settings.variant, run.finished.figures.elapsedMs);
        this.#show.line(`${nameOf(settings)}${place}: ${figuresText(run.finished.figures)}`);
    }
  }

  /** A line where there are no bars. */
  #say(line: string): void {
    if (!this.#show.live) this.#show.line(line);
    this.#saidAt = this.#now();
  }

  #bars({ settings, index, runs }: StudyProgress, step: Step | undefined): Bar[] {
    if (!step) return [{ label: "run", text: nameOf(settings) }];
    const { epoch, stepsPerEpoch } = step;
    const total = this.#epochs * stepsPerEpoch;
    const done = (epoch - 1) * stepsPerEpoch + step.step;
    const inRun = total > 0 ? done / total : 0;
    const study: Bar = {
      label: "study",
      fraction: (index + inRun) / runs,
      text: joined(
        `${this.#study} · run ${index + 1}/${runs}`,
        left(this.#clock.remaining(step.remainingMs, runs - index - 1)),
      ),
    };
    const run: Bar = {
      label: "run",
      fraction: inRun,
      text: joined(nameOf(settings), `epoch ${epoch}/${this.#epochs}`, left(step.remainingMs)),
    };
    const inEpoch: Bar = {
      label: "epoch",
      fraction: step.step / stepsPerEpoch,
      text: joined(`step ${step.step}/${stepsPerEpoch}`, ...stateOf(step)),
    };
    return this.#study && runs > 1 ? [study, run, inEpoch] : [run, inEpoch];
  }
}

/** Time a study still needs: runs to come take as long as those known, on average. */
export class StudyClock {
  readonly #known = new Map<string, number>();
  readonly #now: () => number;
  #startedAt = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  start(): void {
    this.#startedAt = this.#now();
  }

  finish(variant: string, elapsedMs: number): void {
    this.#known.set(variant, elapsedMs);
  }

  /** @param runMs left of the run under way. */
  remaining(runMs: number, runsToCome: number): number {
    const current = this.#now() - this.#startedAt + runMs;
    const times = [...this.#known.values(), current];
    return runMs + (runsToCome * times.reduce((sum, ms) => sum + ms, 0)) / times.length;
  }
}

const nameOf = ({ variant, seed }: RunSettings) => `${variant}, seed ${seed}`;
const joined = (...parts: (string | undefined)[]) => parts.filter(Boolean).join(" · ");
const left = (ms: number) => (Number.isFinite(ms) && ms >= 0 ? `${duration(ms)} left` : undefined);

function startText(start: Extract<RunProgress, { kind: "start" }>): string {
  const { epochs, stepsPerEpoch, resumedStep, bytes } = start;
  const from = resumedStep > 0 ? `goes on after step ${resumedStep}` : "starts";
  return `${from}, ${counted(epochs, "epoch")} of ${counted(stepsPerEpoch, "step")}, ${memory(bytes)} of memory`;
}

const stateOf = ({ loss, accuracy, imagesPerSecond }: Step) => [
  `loss ${loss.toFixed(3)}`,
  `acc. ${(100 * accuracy).toFixed(1)} %`,
  `${rate(imagesPerSecond)} images/s`,
];

function stepText(step: Step, epochs: number): string {
  const place = `epoch ${step.epoch} of ${epochs}, step ${step.step} of ${step.stepsPerEpoch}`;
  return joined(place, ...stateOf(step), left(step.remainingMs));
}

function epochText(record: EpochRecord, { imagesPerSecond }: EpochTiming, epochs: number): string {
  const { epoch, trainLoss, trainAccuracy, validationLoss, validationAccuracy } = record;
  return joined(
    `epoch ${epoch} of ${epochs}`,
    `train loss ${trainLoss.toFixed(4)}, accuracy ${percent(trainAccuracy)} %`,
    validationLoss === undefined || validationAccuracy === undefined
      ? undefined
      : `validation loss ${validationLoss.toFixed(4)}, accuracy ${percent(validationAccuracy)} %`,
    `${rate(imagesPerSecond)} images/s`,
  );
}

function figuresText({ testAccuracy, validationAccuracy, epochs, elapsedMs }: RunFigures): string {
  return joined(
    `test accuracy ${percent(testAccuracy)} %`,
    validationAccuracy === undefined ? undefined : `validation ${percent(validationAccuracy)} %`,
    `${counted(epochs, "epoch")} in ${duration(elapsedMs)}`,
  );
}
