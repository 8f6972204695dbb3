import { UserError } from "../tensor/errors.ts";

/** A system's refusal to read a file, as a message to the user. */
export function unreadable(path: string, error: unknown): UserError {
  return new UserError(
    `${path}: cannot be read (${(error as Error).message}): check its permissions and the disk`,
  );
}
