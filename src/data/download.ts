import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { makeFolder } from "../files/durable.ts";
import { UserError } from "../tensor/errors.ts";
import type { Progress } from "./source.ts";

export interface Download {
  readonly url: string;
  /** Where the whole, verified file goes; what has come so far lies beside it as `.part`. */
  readonly target: string;
  readonly md5: string;
  readonly onProgress?: (progress: Progress) => void;
  /** Pauses before each further attempt after a broken connection, in milliseconds. */
  readonly retryAfterMs?: readonly number[];
}

/**
 * Downloads a file, going on where an earlier attempt or process stopped, and verifies it before giving it its
 * name. Throws UserError when the server cannot be reached or refuses, when the connection keeps breaking (what
 * has come is kept), and when the checksum is wrong (the file is removed).
 */
export async function download({ url, target, md5, onProgress, retryAfterMs = [1000, 4000] }: Download) {
  const part = `${target}.part`;
  await onDisk(part, () => makeFolder(dirname(target)));
  for (let attempt = 0; ; attempt++) {
    try {
      await fetchRest(url, part, onProgress);
      break;
    } catch (error) {
      if (error instanceof UserError) throw error;
      if (attempt >= retryAfterMs.length) {
        const bytes = await sizeOf(part);
        const kept = bytes > 0 ? `; ${bytes} bytes are kept, and the same command goes on from there` : "";
        throw new UserError(
          `${url}: download failed (${reason(error)})${kept}: check the network and try again`,
        );
      }
      await pause(retryAfterMs[attempt]);
    }
  }
  const found = await md5Of(part);
  if (found !== md5) {
    await rm(part, { force: true });
    throw new UserError(
      `${basename(target)} from ${url} has MD5 ${found}, expected ${md5}: it was removed; ` +
        "try again, or fetch it another way and give its path",
    );
  }
  await rename(part, target);
}

/** Appends what is missing to the part file; throws when the connection breaks before the end. */
async function fetchRest(
  url: string,
  part: string,
  onProgress?: (progress: Progress) => void,
): Promise<void> {
  let at = await sizeOf(part);
  const response = await fetch(url, { headers: at > 0 ? { range: `bytes=${at}-` } : {} });
  if (response.status === 416) {
    await response.body?.cancel();
    // Nothing lies behind what we have: it is whole, or too long, which the checksum tells.
    return;
  }
  if (!response.ok || !response.body) {
    await response.body?.cancel();
    const status = `${response.status} ${response.statusText}`.trim();
    // A server in trouble may recover; one that refuses will not.
    const problem = response.status >= 500 ? Error : UserError;
    throw new problem(`${url}: the server answered ${status}: check the address, or give the file's path`);
  }
  if (!continues(response, at)) at = 0;
  const length = Number(response.headers.get("content-length"));
  const total = length > 0 ? at + length : undefined;
  const file = await onDisk(part, () => open(part, at > 0 ? "r+" : "w"));
  try {
    // At explicit positions: two processes that download the same file write the same bytes to the same places.
    for await (const chunk of response.body) {
      await onDisk(part, () => writeAt(file, chunk, at));
      at += chunk.length;
      onProgress?.({ phase: "download", unit: "bytes", done: at, total });
    }
    await file.sync();
  } finally {
    await file.close();
  }
  if (total !== undefined && at < total) throw new Error(`connection closed at ${at} of ${total} bytes`);
}

function continues(response: Response, at: number): boolean {
  return response.status === 206 && (response.headers.get("content-range") ?? "").startsWith(`bytes ${at}-`);
}

async function writeAt(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let sent = 0; sent < chunk.length; ) {
    sent += (await file.write(chunk, sent, chunk.length - sent, position + sent)).bytesWritten;
  }
}

/** Does something to the part file; trouble with the disk is no reason to ask the server again. */
async function onDisk<T>(part: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { message } = ((error as Error).cause ?? error) as Error;
    throw new UserError(
      `${part}: cannot be written (${message}): free space, or set ATENTO_CACHE to another folder`,
    );
  }
}

/** MD5 of a file, in hexadecimal. */
export async function md5Of(path: string): Promise<string> {
  const hash = createHash("md5");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** fetch hides the cause ("fetch failed"): the innermost message says more. */
function reason(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const { code, message } = inner as Error & { code?: string };
  return message || code || String(inner);
}
