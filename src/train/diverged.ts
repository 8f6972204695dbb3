import { UserError } from "../tensor/errors.ts";

/** A training whose numbers are no longer finite, which no later step can mend. */
export class Diverged extends UserError {
  override name = "Diverged";
  /** What is no longer finite, and since when. */
  readonly what: string;

  constructor(runFolder: string, what: string) {
    super(
      `${runFolder}: ${what}: lower train.optimizer.lr or add train.warmup, and train in another folder; ` +
        "the last good checkpoint is kept",
    );
    this.what = what;
  }
}
