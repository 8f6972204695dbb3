// Preloaded into a process, threads included: counts the operations that change files, and stops before one of them.
import fs, { appendFileSync, writeFileSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { fileURLToPath } from "node:url";
import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";

const KEY = "atento crash";
if (isMainThread) setEnvironmentData(KEY, new Int32Array(new SharedArrayBuffer(4)));
/** Operations begun in all threads. */
const counter = getEnvironmentData(KEY) as Int32Array;

const { ATENTO_CRASH_AT, ATENTO_CRASH_HALF, ATENTO_CRASH_LOG } = process.env;
const last = Number(ATENTO_CRASH_AT ?? Number.POSITIVE_INFINITY);

/** Ends the process by SIGKILL when this is the operation to stop before; `half` is what a write still does. */
function before(operation: string, path: string, half?: () => void): void {
  if (Atomics.add(counter, 0, 1) + 1 !== last) return;
  if (ATENTO_CRASH_HALF) half?.();
  if (ATENTO_CRASH_LOG) appendFileSync(ATENTO_CRASH_LOG, `${operation} ${path}\n`);
  process.kill(process.pid, "SIGKILL");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // not one step further
}

type Method = (...args: unknown[]) => unknown;

function watch(object: object, name: string, seen: (self: unknown, args: unknown[]) => void): void {
  const methods = object as Record<string, Method>;
  const method = methods[name];
  methods[name] = function (this: unknown, ...args: unknown[]) {
    seen(this, args);
    return method.apply(this, args);
  };
}

const paths = new WeakMap<object, string>();
const pathOf = (handle: unknown) => paths.get(handle as object) ?? "";

for (const name of ["rename", "rm", "mkdir", "link"]) {
  watch(fs.promises, name, (_, [path]) => before(name, String(path)));
}
const open = fs.promises.open as unknown as Method;
(fs.promises as unknown as Record<string, Method>)["open"] = async (path, flags, ...rest) => {
  if (flags !== "r" && flags !== undefined) before("open", String(path));
  const handle = (await open(path, flags, ...rest)) as object;
  paths.set(handle, String(path));
  return handle;
};
const handle = await fs.promises.open(fileURLToPath(import.meta.url), "r");
const prototype = Object.getPrototypeOf(handle) as object;
await handle.close();
for (const name of ["write", "writeFile", "sync", "close"]) {
  watch(prototype, name, (self, args) =>
    before(name, pathOf(self), () => {
      if (name === "write") writeHalf(self as FileHandle, args as [Uint8Array, number, number, number]);
      if (name === "writeFile") writeHalf(self as FileHandle, wholeOf(args[0] as string | Uint8Array));
    }),
  );
}
syncBuiltinESMExports();

function wholeOf(content: string | Uint8Array): [Uint8Array, number, number, number] {
  const bytes = Buffer.from(content);
  return [bytes, 0, bytes.length, 0];
}

function writeHalf(
  { fd }: FileHandle,
  [bytes, from, length, position]: [Uint8Array, number, number, number],
): void {
  writeSync(fd, bytes, from, Math.floor(length / 2), position);
}

if (isMainThread && process.env["ATENTO_CRASH_COUNT"]) {
  const path = process.env["ATENTO_CRASH_COUNT"];
  process.on("exit", () => writeFileSync(path, String(Atomics.load(counter, 0))));
}
