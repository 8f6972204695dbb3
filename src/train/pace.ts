const INTERVAL_MS = 100;

/** Answers whether something is due again: at most ten times a second. */
export function throttle(now: () => number = () => performance.now()): () => boolean {
  let last = -Infinity;
  return () => {
    if (now() - last < INTERVAL_MS) return false;
    last = now();
    return true;
  };
}

/** What a training still has to do. */
export interface Ahead {
  readonly steps: number;
  /** Evaluated batches. */
  readonly evaluations: number;
}

/** How fast a training goes in this session, measured. */
export class Pace {
  #steps = 0;
  #stepsMs = 0;
  #evaluations = 0;
  #evaluationsMs = 0;

  step(ms: number): void {
    this.#steps++;
    this.#stepsMs += ms;
  }

  evaluated(batches: number, ms: number): void {
    this.#evaluations += batches;
    this.#evaluationsMs += ms;
  }

  /** Until all of it is done; until an evaluation is measured, a batch counts a third of a step: forward only. */
  remainingMs({ steps, evaluations }: Ahead): number {
    const stepMs = this.#steps > 0 ? this.#stepsMs / this.#steps : 0;
    const evaluationMs = this.#evaluations > 0 ? this.#evaluationsMs / this.#evaluations : stepMs / 3;
    return steps * stepMs + evaluations * evaluationMs;
  }
}
