import { mkdtempSync, rmSync } from "node:fs";
import type * as FsPromises from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { writeDurably } from "../../../src/files/durable.ts";

const done = vi.hoisted((): string[] => []);
vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof FsPromises>();
  const open = async (...args: Parameters<typeof real.open>) => {
    const handle = await real.open(...args);
    const { sync } = handle;
    handle.sync = () => {
      done.push(`sync ${args[0]}`);
      return sync.call(handle);
    };
    return handle;
  };
  const rename = (from: string, to: string) => {
    done.push(`rename ${from} ${to}`);
    return real.rename(from, to);
  };
  return { ...real, open, rename };
});

it("a file is on disk before it gets its name, and the name before the write is over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atento-order-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "x");
  await writeDurably(path, "text");
  const [temporary] = done.map((line) => line.slice("sync ".length));
  expect(basename(temporary)).toMatch(/^\.x\..*\.tmp$/);
  expect(done).toEqual([`sync ${temporary}`, `rename ${temporary} ${path}`, `sync ${folder}`]);
});
