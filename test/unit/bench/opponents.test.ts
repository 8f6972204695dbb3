import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { measureOpponent, opponents } from "../../../src/bench/opponents.ts";

const folder = mkdtempSync(join(tmpdir(), "atento-bench-"));
afterAll(() => rmSync(folder, { recursive: true }));

const workload = { stem: "cifar", attention: "none", batch: 2, steps: 1, threads: 1 };
const places = { python: "/no/python", tensorflowPython: "/no/other/python", tfjs: folder };

describe("an opponent that is not installed", () => {
  it.each([
    [
      "torch",
      /^\/no\/python: no such program\nin a virtual environment: pip install torch; then --python PATH$/,
    ],
    [
      "tensorflow",
      /^\/no\/other\/python: no such program\n[^\n]*tensorflow-cpu; then --tensorflow-python PATH$/,
    ],
    ["tfjs", /^Error: Cannot find module '@tensorflow\/tfjs'\n[^\n]*npm install [^\n]*; then --tfjs FOLDER$/],
  ])("%s says what to install", async (name, failure) => {
    for (const opponent of opponents[name])
      expect(await measureOpponent(opponent, workload, places)).toEqual({
        failure: expect.stringMatching(failure),
      });
  });
});

it("knows what the others have not", async () => {
  const [torch] = opponents["torch"];
  expect(await measureOpponent(torch, { ...workload, attention: "eca" }, places)).toEqual({
    failure: "knows no attention eca",
  });
});
