import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FolderLock } from "../../../src/files/lock.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atento-lock-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const lockFile = () => join(folder, "lock.json");

/** A process that holds the folder until it is killed. */
async function holder(): Promise<{ readonly pid: number; kill(): Promise<void> }> {
  const module = new URL("../../../dist/files/lock.js", import.meta.url).href;
  const program = `const { FolderLock } = await import(${JSON.stringify(module)});
    await FolderLock.take(${JSON.stringify(folder)}); console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  const kill = async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  return { pid: child.pid!, kill };
}

/** Changes what the lock says, keeping the file itself. */
async function rewrite(change: object): Promise<void> {
  const { ino } = await stat(lockFile());
  const known = JSON.parse(await readFile(lockFile(), "utf8"));
  await writeFile(lockFile(), JSON.stringify({ ...known, ...change }));
  expect((await stat(lockFile())).ino).toBe(ino);
}

describe("FolderLock", () => {
  it("is had by one at a time, also within a process, and leaves nothing behind", async () => {
    const lock = await FolderLock.take(folder);
    await expect(FolderLock.take(folder)).rejects.toThrow(`${folder}: process ${process.pid} on`);
    await lock.expectHeld();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
    await (await FolderLock.take(folder)).release();
  });

  it("says who holds it, on which host, since when; a killed process does not block", async () => {
    const other = await holder();
    const since = String(new Date().getUTCFullYear());
    await expect(FolderLock.take(folder)).rejects.toThrow(
      `${folder}: process ${other.pid} on ${hostname()} trains here since ${since}`,
    );
    await other.kill();
    const lock = await FolderLock.take(folder);
    await lock.expectHeld();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("is taken away when its process is dead, and only then", async () => {
    await FolderLock.removeDead(folder);
    const other = await holder();
    await FolderLock.removeDead(folder);
    expect(await readdir(folder)).toEqual(["lock.json"]);
    await other.kill();
    await FolderLock.removeDead(folder);
    expect(await readdir(folder)).toEqual([]);
  });

  it("does not take a later process of the same pid for its holder", async () => {
    const other = await holder();
    await rewrite({ started: 1 });
    await (await FolderLock.take(folder)).release();
    await other.kill();
  });

  it("is free in a copy of the folder, while the original is held", async () => {
    const other = await holder();
    const copy = `${folder}-copy`;
    await cp(folder, copy, { recursive: true });
    await (await FolderLock.take(copy)).release();
    await rm(copy, { recursive: true });
    await expect(FolderLock.take(folder)).rejects.toThrow("trains here");
    await other.kill();
  });

  it("of another machine counts while it is touched; one that came along from there does not", async () => {
    const other = await holder();
    await rewrite({ machine: "elsewhere", host: "far" });
    await expect(FolderLock.take(folder)).rejects.toThrow("on far trains here");
    const early = new Date(Date.now() - 120_000);
    await utimes(lockFile(), early, early);
    await (await FolderLock.take(folder)).release();
    await other.kill();

    await (await FolderLock.take(folder)).release();
    const again = await holder();
    await rewrite({ machine: "elsewhere", inode: "1", folder: "/elsewhere" });
    await (await FolderLock.take(folder)).release();
    await again.kill();
  });

  it("of another machine is waited for: taken after silence, refused at a sign of life", async () => {
    const other = await holder();
    await other.kill();
    await rewrite({ machine: "elsewhere", host: "far" });
    const notes: string[] = [];
    const patience = { silentMs: 700, onNote: (note: string) => notes.push(note) };
    // a clock that was set back since must not keep it for ever
    const late = new Date(Date.now() + 3_600_000);
    await utimes(lockFile(), late, late);
    const touching = setTimeout(() => void utimes(lockFile(), new Date(), new Date()), 100);
    await expect(FolderLock.take(folder, patience)).rejects.toThrow("on far trains here");
    clearTimeout(touching);
    expect(notes).toEqual([expect.stringMatching(/on far was here and may be dead: waiting up to 1 s/)]);

    await utimes(lockFile(), late, late);
    const signal = AbortSignal.timeout(100);
    const left = await FolderLock.take(folder, { silentMs: 60_000, signal }).catch((error) => error);
    expect(left).toBe(signal.reason);
    const lock = await FolderLock.take(folder, patience);
    await lock.expectHeld();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("of another machine that is released while it is waited for is taken at once", async () => {
    const other = await holder();
    await rewrite({ machine: "elsewhere", host: "far" });
    const releasing = setTimeout(() => void rm(lockFile()), 100);
    await (await FolderLock.take(folder, { silentMs: 5000 })).release();
    clearTimeout(releasing);
    await other.kill();
  });

  it("that is damaged is of a machine that went down", async () => {
    await writeFile(lockFile(), "");
    await (await FolderLock.take(folder)).release();
    await writeFile(lockFile(), '{"pid": "x"}');
    await (await FolderLock.take(folder)).release();
  });

  it("is taken by one of many that find a dead one at once", async () => {
    const other = await holder();
    await other.kill();
    const attempts = await Promise.allSettled(Array.from({ length: 8 }, () => FolderLock.take(folder)));
    const taken = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
    expect(taken).toHaveLength(1);
    await taken[0].release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("tells its holder when it is lost", async () => {
    const lock = await FolderLock.take(folder);
    await rm(lockFile());
    await expect(lock.expectHeld()).rejects.toThrow("another process trains here now");
    const next = await FolderLock.take(folder);
    await expect(lock.expectHeld()).rejects.toThrow("another process trains here now");
    await lock.release();
    await next.expectHeld();
    await next.release();
  });

  it("is not lost when the file system gives its file another inode", async () => {
    const lock = await FolderLock.take(folder);
    await cp(lockFile(), `${lockFile()}-copy`);
    await rename(`${lockFile()}-copy`, lockFile());
    await lock.expectHeld();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("cannot be had where nothing can be written", async () => {
    await expect(FolderLock.take(join(folder, "none"))).rejects.toThrow("lock.json: cannot be written");
  });
});
