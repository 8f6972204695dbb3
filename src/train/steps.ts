import type { Batch } from "../data/loader.ts";
import { learningRate } from "./schedules.ts";
import type { Session } from "./session.ts";
import type { TrainState } from "./state.ts";
import type { TrainOptions } from "./types.ts";

/** Where a training stands, as far as its next step depends on it. */
export type Position = Pick<TrainState, "step" | "epoch" | "stepInEpoch" | "plateau">;

export interface StepOutputs {
  readonly batch: Batch;
  readonly loss: number;
  readonly logits: Float32Array;
}

/** The steps of a training: each depends on its position and on the session's variables, which it overwrites. */
export class Steps {
  readonly #session: Session;
  readonly #options: TrainOptions;

  constructor(session: Session, options: TrainOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** Learning rate of the step after `step` steps. */
  rate({ step, plateau }: Pick<Position, "step" | "plateau">): number {
    const { epochs, schedule, optimizer } = this.#options;
    const { stepsPerEpoch, warmupSteps } = this.#session;
    return learningRate(schedule, plateau?.lr ?? optimizer.lr, { step, stepsPerEpoch, epochs }, warmupSteps);
  }

  batch({ epoch, stepInEpoch }: Position): Promise<Batch> {
    return this.#session.loader.batch(epoch, stepInEpoch);
  }

  /** Runs the step at a position on its batch. */
  async run(at: Position, batch: Batch): Promise<StepOutputs> {
    const { training, optimizer } = this.#session;
    const { images, labels, count } = batch;
    const { bodyRate } = this.#options;
    const rate = this.rate(at);
    const rates = optimizer.rates(at.step, rate);
    const { loss, logits } = await training.of(count).run({
      ...{ images, labels, rates },
      ...(bodyRate !== undefined && { bodyRates: optimizer.rates(at.step, bodyRate * rate) }),
    });
    return { batch, loss: loss[0], logits };
  }
}
