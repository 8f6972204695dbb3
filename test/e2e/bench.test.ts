import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { loadAddon } from "../../src/engine/addon.ts";

const main = fileURLToPath(new URL("../../dist/bench/main.js", import.meta.url));
const bench = (line: string) => promisify(execFile)(process.execPath, [main, ...line.split(" ")]);

describe.runIf(loadAddon())("npm run bench", () => {
  it("measures every variant in a process of its own, and goes on without a missing opponent", async () => {
    const { stdout, stderr } = await bench(
      "--stem imagenet --batch 2 --steps 1 --threads 1 2 --no-passes --against torch --python /no/python --json",
    );
    expect(stderr).toMatch(/^1 of 8: imagenet, none, 1 thread: Atento\n/);
    const [one, two] = JSON.parse(stdout);
    expect([one.threads, two.threads]).toEqual([1, 2]);
    for (const row of [one, two]) {
      expect(row).toMatchObject({ stem: "imagenet", attention: "none", batch: 2, parameters: 23_528_522 });
      for (const measured of [row, row.variants[0].median]) {
        expect(measured.trainImagesPerSecond).toBeGreaterThan(0);
        expect(measured.inferImagesPerSecond).toBeGreaterThan(0);
        expect(measured.peakRssMiB).toBeGreaterThan(0);
      }
      expect(row.variants[0].name).toBe("Atento, no passes");
      expect(row.opponents).toEqual([
        { name: "PyTorch, NCHW", failure: expect.stringContaining("pip install torch") },
        { name: "PyTorch, channels last", failure: expect.stringContaining("pip install torch") },
      ]);
    }
    expect(one.ratios).toBeUndefined();
    expect(two.ratios).toEqual([expect.objectContaining({ over: "itself with 1 thread" })]);
  });

  it.each([
    ["--against pytorch", 'bench: unknown opponent "pytorch": did you mean torch?'],
    ["--stem cifer", 'bench: unknown stem "cifer": did you mean cifar?'],
    ["--attention sse", 'bench: unknown attention "sse": did you mean se?'],
    ["--threads 0", "argument '0' is invalid. It must be a whole number above 0."],
  ])("refuses %s", async (line, message) => {
    await expect(bench(line)).rejects.toMatchObject({ stderr: expect.stringContaining(message) });
  });
});
