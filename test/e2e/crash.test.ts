import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { differences } from "../../src/crash/compare.ts";
import { atento, temporaryFolder } from "./support.ts";

const script = fileURLToPath(new URL("../../dist/crash/main.js", import.meta.url));

it("five trainings killed at random instants and between file operations end as one that was not", () => {
  // the instants differ from day to day, and are told when they find something
  const seed = Math.floor(Date.now() / 86_400_000);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [script, "--kills", "5", "--seed", `${seed}`],
    {
      encoding: "utf8",
    },
  );
  expect(stderr).toBe("");
  expect(stdout, `seed ${seed}`).toContain("5 of 5 equal, byte for byte");
  expect(stdout).toMatch(/^\d+ kills: \d+ at random instants, \d+ between two operations on files/m);
  expect(status).toBe(0);
}, 180_000);

describe("the comparison", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  const at = (...path: string[]) => join(folder.path, ...path);
  beforeAll(async () => {
    folder = temporaryFolder();
    folder.write(
      "crash.yaml",
      `name: crash
data: { source: shapes, train: 40, test: 20, size: 16, validation: 10 }
model: { name: resnet14, stem: { channels: 4, kernel: 3, stride: 1, pool: true }, depths: [1], widths: [4], expansion: 2 }
train: { epochs: 1, batch: 10 }
variants: { plain: {}, se: { attention: se, reduction: 4 } }
`,
    );
    expect((await atento(["study", "crash.yaml"], { cwd: folder.path })).code).toBe(0);
  }, 60_000);
  afterAll(() => folder.remove());

  const run = "runs/crash/plain/seed-1";
  const lastByte = (path: string) => {
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(path, bytes);
  };
  const checkpoint = (copy: string) =>
    join(copy, run, "checkpoints", readdirSync(join(copy, run, "checkpoints"))[0]);
  it.each<[string, (copy: string) => void, string[]]>([
    ["nothing", () => {}, []],
    ["a weight", (copy) => lastByte(join(copy, run, "model.safetensors")), [`${run}/model.safetensors`]],
    ["a figure", (copy) => lastByte(join(copy, run, "metrics.jsonl")), [`${run}/metrics.jsonl`]],
    [
      "the table",
      (copy) => lastByte(join(copy, "runs/crash/report/table.md")),
      ["runs/crash/report/table.md"],
    ],
    ["a slot", (copy) => lastByte(checkpoint(copy)), [`${run}: variables of the last checkpoint`]],
    [
      "what is left behind",
      (copy) => writeFileSync(join(copy, run, ".x.tmp"), ""),
      ["plain/seed-1/.x.tmp is left behind"],
    ],
  ])("sees a change of %s", (_, change, expected) => {
    cpSync(at("runs"), at("copy/runs"), { recursive: true });
    change(at("copy"));
    expect(differences(at("copy"), folder.path)).toEqual(expected);
    rmSync(at("copy"), { recursive: true });
  });
});
