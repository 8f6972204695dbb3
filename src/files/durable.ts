import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { UserError } from "../tensor/errors.ts";

/**
 * Writes a whole file so that after any crash either the old or the new content is there: temporary name in
 * the same folder, fsync, rename, fsync of the folder.
 * @throws UserError with the path when it cannot be written (no space, no permission, no folder).
 */
export async function writeDurably(path: string, bytes: string | Uint8Array): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    // the file that could not be written is what matters, not one that cannot be taken away either
    await rm(temporary, { force: true }).catch(() => undefined);
    throw unwritable(path, error);
  }
}

/**
 * Makes a folder and those above it, one level after the other: node's recursive mkdir never returns below /proc.
 * @throws UserError with the path when that is not possible.
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !isFolder(at) && dirname(at) !== at; at = dirname(at)) missing.push(at);
  for (const folder of missing.reverse()) {
    await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw unwritable(path, error);
      if (isFolder(folder)) return; // somebody else made it
      throw unwritable(path, folder === resolve(path) ? error : Object.assign(error, { code: "ENOTDIR" }));
    });
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // not there, or a part of the path is a file
  }
}

/** Takes away what a crash left half written by `writeDurably`; nothing else may be writing in the folder. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^\..*\.[0-9a-f-]{36}\.tmp$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What a system's error means to the person who waits for the file, by its code. */
const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "no space is left on the disk: free some, then run the same command again",
  EDQUOT: "the disk quota is used up: free some space, then run the same command again",
  EFBIG: "the file is larger than the system allows: raise the limit (ulimit -f), or write to another disk",
  EACCES: "no permission: change the permissions of the folder, or choose another with --out",
  EPERM: "not permitted: change the permissions of the folder, or choose another with --out",
  EROFS: "the disk is read-only: choose another folder with --out",
  ENOENT: "the folder is not there: was it removed or renamed?",
  ENOTDIR: "a part of the path is a file, not a folder: choose another folder with --out",
  EEXIST: "a file of that name is in the way: choose another folder with --out",
  EISDIR: "a folder of that name is in the way: remove or rename it",
  ENAMETOOLONG: "the path is too long: choose a shorter one with --out",
  EIO: "the disk reports an error (input/output): check it, or choose another with --out",
};

/** The same error, as one about the path when it comes from the system and not from a defect of ours. */
export function unwritable(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  const reason = code === undefined || !Object.hasOwn(reasons, code) ? undefined : reasons[code];
  return reason ? new UserError(`${path}: cannot be written: ${reason}`, { cause: error }) : error;
}
