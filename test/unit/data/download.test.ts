import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { download } from "../../../src/data/download.ts";
import { loadDataset } from "../../../src/data/load.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { temporaryFolder } from "./helpers.ts";

const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) >> 3));
const md5 = createHash("md5").update(content).digest("hex");

type Handler = (request: IncomingMessage, response: ServerResponse, visit: number) => void;

/** A server on this machine; its handler is told how many requests came before. */
async function serve(handler: Handler): Promise<{ url: string; ranges: (string | undefined)[] }> {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    handler(request, response, ranges.length - 1);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/data.tar.gz`, ranges };
}

/** Serves the rest that is asked for, and hangs up after `cut` bytes of it. */
function serveRest(request: IncomingMessage, response: ServerResponse, cut?: number): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const rest = content.subarray(from);
  if (from >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const range = { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` };
  response.writeHead(from > 0 ? 206 : 200, { "content-length": rest.length, ...(from > 0 && range) });
  if (cut === undefined) response.end(rest);
  else response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
}

async function target(): Promise<string> {
  return join(await temporaryFolder(), "cache", "data.tar.gz");
}

describe("download", () => {
  test("whole, with progress", async () => {
    const { url } = await serve((request, response) => serveRest(request, response));
    const path = await target();
    const seen: number[] = [];
    await download({ url, target: path, md5, onProgress: ({ done, total }) => seen.push(done / total!) });
    expect(content.equals(await readFile(path))).toBe(true);
    expect(existsSync(`${path}.part`)).toBe(false);
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  test("goes on where the connection broke", async () => {
    const { url, ranges } = await serve((request, response, visit) =>
      serveRest(request, response, visit < 2 ? 100_000 : undefined),
    );
    const path = await target();
    await download({ url, target: path, md5, retryAfterMs: [1, 1] });
    expect(content.equals(await readFile(path))).toBe(true);
    expect(ranges).toEqual([undefined, "bytes=100000-", "bytes=200000-"]);
  });

  test("goes on where an earlier process stopped", async () => {
    const { url, ranges } = await serve((request, response, visit) =>
      serveRest(request, response, visit === 0 ? 50_000 : undefined),
    );
    const path = await target();
    const first = download({ url, target: path, md5, retryAfterMs: [] });
    await expect(first).rejects.toThrow(UserError);
    await expect(first).rejects.toThrow("50000 bytes are kept, and the same command goes on from there");
    const seen: number[] = [];
    await download({ url, target: path, md5, onProgress: ({ done }) => seen.push(done) });
    expect(ranges).toEqual([undefined, "bytes=50000-"]);
    expect(Math.min(...seen)).toBeGreaterThan(50_000);
    expect(content.equals(await readFile(path))).toBe(true);
  });

  test("starts anew where the server knows no ranges, and finishes where all bytes are there", async () => {
    const whole = await serve((_, response) => response.end(content));
    const path = await target();
    await download({ url: whole.url, target: path, md5 });
    await writeFile(`${path}.part`, content.subarray(0, 1000));
    await download({ url: whole.url, target: path, md5 });
    expect(content.equals(await readFile(path))).toBe(true);

    const ranged = await serve((request, response) => serveRest(request, response));
    await writeFile(`${path}.part`, content);
    await download({ url: ranged.url, target: path, md5 });
    expect(ranged.ranges).toEqual(["bytes=300000-"]);
  });

  test("a wrong checksum: removed, and said", async () => {
    const { url } = await serve((_, response) => response.end("<html>log in first</html>"));
    const path = await target();
    const loading = download({ url, target: path, md5 });
    await expect(loading).rejects.toThrow(UserError);
    const found = createHash("md5").update("<html>log in first</html>").digest("hex");
    await expect(loading).rejects.toThrow(
      `data.tar.gz from ${url} has MD5 ${found}, expected ${md5}: it was removed`,
    );
    expect([existsSync(path), existsSync(`${path}.part`)]).toEqual([false, false]);
  });

  test("a server in trouble is asked again, one that refuses is not", async () => {
    const busy = await serve((request, response, visit) =>
      visit === 0 ? response.writeHead(503).end() : serveRest(request, response),
    );
    await download({ url: busy.url, target: await target(), md5, retryAfterMs: [1] });
    expect(busy.ranges).toHaveLength(2);
    const gone = await serve((_, response) => response.writeHead(404).end());
    await expect(download({ url: gone.url, target: await target(), md5 })).rejects.toThrow(
      "the server answered 404 Not Found: check the address",
    );
    expect(gone.ranges).toHaveLength(1);
    const nowhere = download({ url: "http://127.0.0.1:9/x", target: await target(), md5, retryAfterMs: [1] });
    await expect(nowhere).rejects.toThrow(UserError);
    await expect(nowhere).rejects.toThrow("http://127.0.0.1:9/x: download failed (");
  });

  test("a cache that cannot be written is said at once", async () => {
    const { url, ranges } = await serve((request, response) => serveRest(request, response));
    const folder = await temporaryFolder();
    await writeFile(join(folder, "cache"), "a file, not a folder");
    const loading = download({ url, target: join(folder, "cache", "data.tar.gz"), md5 });
    await expect(loading).rejects.toThrow(UserError);
    await expect(loading).rejects.toThrow("or set ATENTO_CACHE to another folder");
    expect(ranges).toHaveLength(0);
  });

  test("CIFAR-10 goes to the cache and is read from there", async () => {
    const { url, ranges } = await serve((request, response) => serveRest(request, response));
    const cache = await temporaryFolder();
    const load = () => loadDataset({ source: "cifar10" }, { cache, cifar10: { url, md5 } });
    // The content is no archive: reading fails, after the download, and again without one.
    await expect(load()).rejects.toThrow("cifar-10-binary.tar.gz: not a whole tar archive");
    await expect(load()).rejects.toThrow("cifar-10-binary.tar.gz: not a whole tar archive");
    expect(ranges).toHaveLength(1);
    expect(content.equals(await readFile(join(cache, "cifar-10-binary.tar.gz")))).toBe(true);
  });
});
