/**
 * A mistake in what was asked: a name, a file, an option, a shape. The command line prints its message as one
 * line and exits with 2; anything else is a defect of ours.
 */
export class UserError extends Error {
  override name = "UserError";
}

/** Shapes that do not fit, with the place in the model where they met. */
export class ShapeError extends UserError {
  override name = "ShapeError";
  readonly op: string;
  readonly problem: string;
  readonly where: string;

  /** @param where scope of the layer, such as `layer2.0.conv1`; empty when the op was called outside a model. */
  constructor(op: string, problem: string, where = "") {
    super(`${where || op}: ${problem}`);
    this.op = op;
    this.problem = problem;
    this.where = where;
  }

  /** The same error, placed in a model. */
  at(where: string): ShapeError {
    return this.where ? this : new ShapeError(this.op, this.problem, where);
  }
}

/** A file whose bytes are not what they should be: cut off, overwritten, or never what it was taken for. */
export class DamagedFile extends UserError {
  override name = "DamagedFile";
}
