import { existsSync, realpathSync } from "node:fs";
import { link, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { UserError } from "../tensor/errors.ts";
import { temporaryBeside, unwritable } from "./durable.ts";
import { parseJson } from "./json.ts";
import { isRunning, ownIdentity } from "./process.ts";

const NAME = "lock.json";
/** A holder on another machine is alive when it has touched its lock within this time. */
const SILENT_MS = 60_000;
const TOUCH_MS = 10_000;
const LOOK_MS = 500;
/** Longer than anybody takes from finding a lock free to taking it. */
const SETTLE_MS = 100;

/** lock.json: who holds a folder. Folder and inode tell the lock itself from one that was copied along. */
const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  machine: z.string(),
  started: z.number(),
  since: z.string(),
  folder: z.string(),
  inode: z.string(),
});

type Holder = z.output<typeof holderSchema>;

/** How to wait for a holder on another machine, of which only silence tells that it is dead. */
export interface Patience {
  readonly signal?: AbortSignal;
  /** Told what is waited for. */
  readonly onNote?: (note: string) => void;
  /** Silence that means death. */
  readonly silentMs?: number;
}

/**
 * The right to write in a folder, which one process has at a time. A lock of a process that is dead does not count,
 * nor one that came along when the folder was copied.
 */
export class FolderLock {
  readonly #folder: string;
  /** What the lock says as long as it is this one; some file systems give one file a new inode now and then. */
  readonly #text: string;
  readonly #touching: NodeJS.Timeout;

  private constructor(folder: string, text: string) {
    this.#folder = folder;
    this.#text = text;
    const touch = () => utimes(join(folder, NAME), new Date(), new Date()).catch(() => undefined);
    this.#touching = setInterval(touch, TOUCH_MS).unref();
  }

  /**
   * @param patience refuses nobody before it is seen whether a holder on another machine still lives.
   * @throws UserError that names the holder when there is one, or when the folder cannot be written; the signal's
   * reason when it is aborted.
   */
  static async take(folder: string, patience?: Patience): Promise<FolderLock> {
    const path = join(folder, NAME);
    const temporary = temporaryBeside(path);
    try {
      const { inode, text } = await writeHolder(temporary, folder);
      const { mtimeMs: now } = await stat(temporary); // by the clock of the file system
      for (;;) {
        const found = await readLock(path, folder, now);
        if (found.holder) {
          if (!patience || !found.elsewhere) throw refusal(folder, found.holder);
          const seen = await watch(path, folder, found.holder, now - found.touchedMs, patience);
          if (seen === "gone") continue;
          if (seen === "alive") throw refusal(folder, found.holder);
        }
        const linked = !found.exists && (await tryLink(temporary, path));
        if (linked === "taken") continue;
        if (!linked) {
          await rename(temporary, path);
          await pause(SETTLE_MS); // of several that take over at once, the last one has it
          const { holder } = await readLock(path, folder, now);
          if (holder && holder.inode !== inode) throw refusal(folder, holder);
        }
        return new FolderLock(folder, text);
      }
    } catch (error) {
      throw unwritable(path, error);
    } finally {
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  /** Takes away a lock whose process is dead; leaves any other, and one that cannot be removed. */
  static async removeDead(folder: string): Promise<void> {
    if (!existsSync(join(folder, NAME))) return;
    const lock = await FolderLock.take(folder).catch((error) => {
      if (error instanceof UserError) return undefined;
      throw error;
    });
    await lock?.release();
  }

  /** @throws UserError when another process has taken over, which it may after this one was silent for long. */
  async expectHeld(): Promise<void> {
    if (await this.#isOurs()) return;
    const missing = Object.assign(new Error("folder"), { code: "ENOENT" });
    if (!existsSync(this.#folder)) throw unwritable(this.#folder, missing);
    throw new UserError(
      `${this.#folder}: another process trains here now (this one was silent for long, or ${NAME} was removed): ` +
        "nothing is written any more; once it is done, the same command goes on",
    );
  }

  async release(): Promise<void> {
    clearInterval(this.#touching);
    const path = join(this.#folder, NAME);
    // a lock that cannot be removed does not block: its process will be dead
    if (await this.#isOurs()) await rm(path, { force: true }).catch(() => undefined);
  }

  async #isOurs(): Promise<boolean> {
    return (await readFile(join(this.#folder, NAME), "utf8").catch(() => "")) === this.#text;
  }
}

/** Writes who we are into a new file; its inode and what it says. */
async function writeHolder(
  path: string,
  folder: string,
): Promise<{ readonly inode: string; readonly text: string }> {
  const file = await open(path, "wx");
  try {
    const inode = String((await file.stat({ bigint: true })).ino);
    const holder: Holder = {
      ...ownIdentity(),
      since: new Date().toISOString(),
      folder: realpathSync(folder),
      inode,
    };
    const text = `${JSON.stringify(holder)}\n`;
    await file.writeFile(text);
    return { inode, text };
  } finally {
    await file.close();
  }
}

/** Gives the file the lock's name as well; false where the file system has no links. */
async function tryLink(temporary: string, path: string): Promise<"taken" | boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return "taken";
    if (code === "EPERM" || code === "ENOTSUP" || code === "ENOSYS") return false;
    throw error;
  }
}

interface Found {
  readonly exists: boolean;
  /** Nobody when its process is dead. */
  readonly holder?: Holder;
  /** Whether only silence would tell that the holder is dead. */
  readonly elsewhere: boolean;
  readonly touchedMs: number;
}

/** Whether there is a lock, and who holds it. */
async function readLock(path: string, folder: string, now: number): Promise<Found> {
  const nobody = { elsewhere: false, touchedMs: 0 };
  try {
    const { ino, mtimeMs } = await stat(path, { bigint: true });
    const parsed = holderSchema.safeParse(parseJson(await readFile(path, "utf8")));
    if (!parsed.success) return { exists: true, ...nobody }; // whole when it was linked: a machine went down before it was on disk
    const holder = parsed.data;
    const running = isRunning(holder);
    const here = holder.inode === String(ino) || holder.folder === realpathSync(folder);
    const held = here && (running ?? now - Number(mtimeMs) < SILENT_MS);
    if (!held) return { exists: true, ...nobody };
    return { exists: true, holder, elsewhere: running === undefined, touchedMs: Number(mtimeMs) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { exists: false, ...nobody };
    throw error;
  }
}

/** Looks at the lock of a holder elsewhere until that is touched, is gone, or was silent for long. */
async function watch(
  path: string,
  folder: string,
  { pid, host }: Holder,
  ageMs: number,
  { signal, onNote, silentMs = SILENT_MS }: Patience,
): Promise<"alive" | "gone" | "silent"> {
  const waitMs = silentMs - Math.max(0, ageMs); // below 0 where a clock was set back since
  onNote?.(
    `${folder}: process ${pid} on ${host} was here and may be dead: waiting up to ${Math.ceil(waitMs / 1000)} s for a sign of life`,
  );
  const before = await signOfLife(path);
  const until = performance.now() + waitMs;
  for (;;) {
    const now = await signOfLife(path);
    if (now !== before) return now === undefined ? "gone" : "alive";
    const left = until - performance.now();
    if (left <= 0) return "silent";
    await pause(Math.min(left, LOOK_MS), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

/** What a touch, or another lock, changes; asked of the open file, since file systems of a network remember answers. */
async function signOfLife(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const { ino, mtimeNs } = await file.stat({ bigint: true });
      return `${ino} ${mtimeNs}`;
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function refusal(folder: string, { pid, host, since }: Holder): UserError {
  return new UserError(
    `${folder}: process ${pid} on ${host} trains here since ${since}: wait until it is done, or end it first`,
  );
}
