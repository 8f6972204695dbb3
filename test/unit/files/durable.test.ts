import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  makeFolder,
  removeUnfinished,
  temporaryBeside,
  unwritable,
  writeDurably,
} from "../../../src/files/durable.ts";
import { isRunning, ownIdentity, type ProcessIdentity } from "../../../src/files/process.ts";
import { UserError } from "../../../src/tensor/errors.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atento-durable-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function failure(job: Promise<unknown>): Promise<Error> {
  return job.then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );
}

/** Runs without the permissions of root, where the tests run as root. */
async function asNobody<T>(job: () => Promise<T>): Promise<T> {
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid!(65534);
  try {
    return await job();
  } finally {
    if (root) process.seteuid!(0);
  }
}

describe("writeDurably", () => {
  it("writes text and bytes, replaces a file, and leaves nothing else", async () => {
    const path = join(folder, "run.json");
    await writeDurably(path, "old");
    await writeDurably(path, Uint8Array.of(104, 195, 169));
    expect(await readFile(path, "utf8")).toBe("hé");
    expect(await readdir(folder)).toEqual(["run.json"]);
  });

  it("survives two writers of one file: one of the contents is there, whole", async () => {
    const path = join(folder, "metrics.jsonl");
    const texts = ["a".repeat(1e6), "b".repeat(1e6)];
    await Promise.all(texts.map((text) => writeDurably(path, text)));
    expect(texts).toContain(await readFile(path, "utf8"));
    expect(await readdir(folder)).toEqual(["metrics.jsonl"]);
  });

  it("says where there is no folder, keeps the old content when it fails", async () => {
    expect(await failure(writeDurably(join(folder, "none", "x"), ""))).toMatchObject({
      name: "UserError",
      message: `${join(folder, "none", "x")}: cannot be written: the folder is not there: was it removed or renamed?`,
    });
    await writeFile(join(folder, "file"), "kept");
    const error = await failure(writeDurably(join(folder, "file", "x"), ""));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/a part of the path is a file/);
    expect(await readFile(join(folder, "file"), "utf8")).toBe("kept");
  });

  it("says when a folder is in the way, and leaves no temporary file", async () => {
    await mkdir(join(folder, "x"));
    await writeFile(join(folder, "x", "inside"), "");
    expect((await failure(writeDurably(join(folder, "x"), ""))).message).toMatch(/in the way/);
    expect(await readdir(folder)).toEqual(["x"]);
  });

  it("says when there is no permission", async () => {
    await chmod(folder, 0o555);
    const error = await asNobody(() => failure(writeDurably(join(folder, "x"), "")));
    await chmod(folder, 0o755);
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/^\/.*\/x: cannot be written: no permission: .*--out$/);
  });
});

describe("makeFolder", () => {
  it("makes the folders above too", async () => {
    await makeFolder(join(folder, "a/b"));
    await makeFolder(join(folder, "a/b"));
    expect(await readdir(join(folder, "a"))).toEqual(["b"]);
  });

  it("says when a file is in the way, or there is no permission", async () => {
    await writeFile(join(folder, "file"), "");
    expect((await failure(makeFolder(join(folder, "file")))).message).toMatch(
      /file of that name is in the way/,
    );
    expect((await failure(makeFolder(join(folder, "file/a")))).message).toMatch(
      /a part of the path is a file/,
    );
    await chmod(folder, 0o555);
    const error = await asNobody(() => failure(makeFolder(join(folder, "new"))));
    await chmod(folder, 0o755);
    expect(error.message).toMatch(/new: cannot be written: no permission/);
  });
});

describe("removeUnfinished", () => {
  const own = ownIdentity();
  const named = ({ machine, pid, started }: Omit<ProcessIdentity, "host">) =>
    `.run.json.${machine}-${pid}-${started}-0123456789ab.tmp`;
  const dead = spawnSync(process.execPath, ["--version"]).pid;

  it("takes away what dead processes left half written, and nothing else", async () => {
    const alive = [named(own), ".hidden.tmp", "run.json"];
    const reused = named({ ...own, started: own.started + 1 });
    for (const name of [...alive, named({ ...own, pid: dead }), reused])
      await writeFile(join(folder, name), "");
    await removeUnfinished(folder);
    expect((await readdir(folder)).sort()).toEqual([...alive].sort());
  });

  it("takes what comes from another machine once it is old, or where the folder is locked", async () => {
    const [fresh, old] = ["ba9876543210", "aa9876543210"].map((machine) => named({ ...own, machine }));
    for (const name of [fresh, old]) await writeFile(join(folder, name), "");
    const yesterday = new Date(Date.now() - 25 * 3600 * 1000);
    await utimes(join(folder, old), yesterday, yesterday);
    await removeUnfinished(folder);
    expect(await readdir(folder)).toEqual([fresh]);
    await removeUnfinished(folder, true);
    expect(await readdir(folder)).toEqual([]);
  });

  it("knows the names that are written", async () => {
    const name = basename(temporaryBeside(join(folder, "x")));
    const { machine, pid, started } = own;
    expect(name).toMatch(new RegExp(`^\\.x\\.${machine}-${pid}-${started}-[0-9a-f]{12}\\.tmp$`));
    expect(isRunning(own)).toBe(true);
    expect(isRunning({ ...own, machine: "elsewhere" })).toBeUndefined();
  });
});

it("names the reason of a full disk, and passes a defect of ours on as it is", () => {
  const full = Object.assign(new Error("ENOSPC: write"), { code: "ENOSPC" });
  expect(unwritable("/runs/x", full)).toMatchObject({
    name: "UserError",
    message:
      "/runs/x: cannot be written: no space is left on the disk: free some, then run the same command again",
    cause: full,
  });
  const system = (code: string, errno: number) =>
    unwritable("/runs/x", Object.assign(new Error(code), { code, errno, syscall: "fsync" }));
  const cannot = (reason: string) => ({ message: `/runs/x: cannot be written: ${reason}` });
  expect(system("ENOTCONN", -107)).toMatchObject(
    cannot("the disk is no longer connected: connect it, or choose another with --out"),
  );
  expect(system("EBUSY", -16)).toMatchObject(
    cannot("resource busy or locked (EBUSY): check the disk, or choose another with --out"),
  );
  // such as a stale handle of NFS, of which node knows no name
  expect(system("Unknown system error -116", -116)).toMatchObject(
    cannot("the system refuses it (Unknown system error -116): check the disk, or choose another with --out"),
  );
  expect(system("EBADF", -9)).toMatchObject({ message: "EBADF" });
  const defect = new TypeError("x is not a function");
  expect(unwritable("/runs/x", defect)).toBe(defect);
});
