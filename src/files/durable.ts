import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { getSystemErrorMap } from "node:util";
import { UserError } from "../tensor/errors.ts";
import { isRunning, ownIdentity } from "./process.ts";

/** Writes a whole file as `replaceDurably` does. */
export async function writeDurably(path: string, bytes: string | Uint8Array): Promise<void> {
  await replaceDurably(path, (file) => file.writeFile(bytes));
}

/**
 * Replaces a file so that after any crash either the old or the new content is there: temporary name in the same
 * folder, fsync, rename, fsync of the folder.
 * @param write fills the empty file, which for now is called `temporary`.
 * @throws UserError with the path when it cannot be written (no space, no permission, no folder).
 */
export async function replaceDurably(
  path: string,
  write: (file: FileHandle, temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    const file = await open(temporary, "wx");
    try {
      await write(file, temporary);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
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

/** A new name in the same folder that tells whose it is: machine, process and its start, and a number. */
export function temporaryBeside(path: string): string {
  const { machine, pid, started } = ownIdentity();
  const owner = `${machine}-${pid}-${started}-${randomBytes(6).toString("hex")}`;
  return join(dirname(path), `.${basename(path)}.${owner}.tmp`);
}

const TEMPORARY = /^\..*\.([0-9a-f]{12})-(\d+)-(\d+)-[0-9a-f]{12}\.tmp$/;
const FORGOTTEN_MS = 24 * 3600 * 1000;

/**
 * Takes away what processes that are dead left half written; files of another machine once they are a day old, or
 * at once where the folder is `locked` by this process.
 */
export async function removeUnfinished(folder: string, locked = false): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, machine, pid, started] = TEMPORARY.exec(name) ?? [];
    if (machine === undefined) continue;
    const path = join(folder, name);
    const running = isRunning({ machine, pid: Number(pid), started: Number(started) });
    if (running ?? !(locked || (await isForgotten(path)))) continue;
    await rm(path, { force: true });
  }
}

async function isForgotten(path: string): Promise<boolean> {
  const entry = await stat(path).catch(() => undefined);
  return entry !== undefined && Date.now() - entry.mtimeMs > FORGOTTEN_MS;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch (error) {
    // some file systems know no such thing as writing a folder down
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
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
  ENOTCONN: "the disk is no longer connected: connect it, or choose another with --out",
  ENODEV: "the disk is no longer there: connect it, or choose another with --out",
  EIO: "the disk reports an error (input/output): check it, or choose another with --out",
};

/** Codes that only a defect of ours brings about: a wrong argument, a closed file, a stranger's memory. */
const OURS = new Set(["EINVAL", "EBADF", "EFAULT"]);

/** In words what the operating system refused, where a person can mend it; undefined for any other error. */
export function refusalOf(error: unknown): string | undefined {
  const { code, syscall, errno } = error as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined || !syscall || OURS.has(code)) return undefined;
  return getSystemErrorMap().get(errno)?.[1] ?? "the system refuses it";
}

/** The same error, as one about the path when it comes from the system and not from a defect of ours. */
export function unwritable(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  const words = refusalOf(error);
  const other = words && `${words} (${code}): check the disk, or choose another with --out`;
  const reason = Object.hasOwn(reasons, code) ? reasons[code] : other;
  return reason ? new UserError(`${path}: cannot be written: ${reason}`, { cause: error }) : error;
}
