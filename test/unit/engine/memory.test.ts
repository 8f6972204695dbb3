import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { expect, test } from "vitest";
import { availableBytes, expectMemory, memory } from "../../../src/engine/memory.ts";

test("memory that can be had is no more than the system says", () => {
  const available = availableBytes();
  expect(available).toBeGreaterThan(2 ** 26);
  expect(available).toBeLessThanOrEqual(totalmem());
  if (process.platform !== "linux") return;
  const kibibytes = Number(/MemAvailable: +(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
  expect(available).toBeLessThan(1.2 * 1024 * kibibytes);
});

test("what needs more is refused with both figures", () => {
  expectMemory("run se", 2 ** 30, 2 ** 30);
  expect(() => expectMemory("run se", 1.5 * 2 ** 30, 20 * 2 ** 20)).toThrow(
    "run se needs 1.5 GiB of memory, 20 MiB can be had here: take a smaller batch or model, or free some memory",
  );
  expect(memory(1)).toBe("1 MiB");
});
