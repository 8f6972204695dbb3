import { writeFileSync } from "node:fs";

/** A reader of files that anybody may have written. */
export interface Target {
  readonly name: string;
  /** Files as they should be, to begin from. */
  readonly seeds: readonly Buffer[];
  /** Reads such a file. @throws UserError where it is not as it should be. */
  read(bytes: Buffer): Promise<unknown>;
}

/** A reader of a file at a path. */
export const fileTarget = (
  name: string,
  path: string,
  seeds: readonly Buffer[],
  read: () => Promise<unknown>,
): Target => ({
  name,
  seeds,
  read: async (bytes) => {
    writeFileSync(path, bytes);
    await read();
  },
});
