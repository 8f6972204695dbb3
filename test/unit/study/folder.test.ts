import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStudyFolder, type StudyFile, studyFileOf } from "../../../src/study/folder.ts";
import { writeRunFile } from "../../../src/train/run-folder.ts";
import type { RunFile, RunSettings } from "../../../src/train/types.ts";
import { finishedRun } from "./support.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atento-study-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const plain = finishedRun("plain", 1, {}).settings;
const se = finishedRun("se", 1, {}).settings;
/** Leaves a run in the study's folder, with or without something trained. */
async function leaveRun(settings: RunSettings, status: RunFile["status"], checkpoint = false): Promise<void> {
  const at = join(folder, settings.variant, `seed-${settings.seed}`);
  await writeRunFile(at, { atento: "0.0.0", settings, environment: {}, status, startedAt: "" });
  if (!checkpoint) return;
  await mkdir(join(at, "checkpoints"));
  await writeFile(join(at, "checkpoints/step-000000001.safetensors"), "");
}

const study = (...runs: RunSettings[]): StudyFile => studyFileOf("s", runs, "0.0.0");

describe("openStudyFolder", () => {
  it("writes the study, and takes the same one again", async () => {
    await openStudyFolder(join(folder, "a/b"), study(plain, se));
    await openStudyFolder(join(folder, "a/b"), study(plain, se));
    const written = JSON.parse(await readFile(join(folder, "a/b/study.json"), "utf8"));
    expect(written).toMatchObject({ name: "s", seeds: [1], data: { fingerprint: "f" } });
    expect(Object.keys(written.variants)).toEqual(["plain", "se"]);
  });

  it("takes further seeds, further variants and data that lie elsewhere", async () => {
    await openStudyFolder(folder, study(plain));
    const moved = { ...plain, data: { ...plain.data, source: { source: "folder", path: "/elsewhere" } } };
    await openStudyFolder(folder, study(moved, { ...moved, seed: 2 }, se));
  });

  it("refuses what cannot be compared and shows the difference", async () => {
    await leaveRun(plain, "done");
    await leaveRun(se, "interrupted", true);
    const faster = { ...se, train: { ...se.train, batch: 7 } };
    await expect(openStudyFolder(folder, study(plain, faster))).rejects.toThrow(
      "variants.se.train.batch is 128 there, 7 here: give the study another name",
    );
    const longer = { ...plain, train: { ...plain.train, epochs: 1000 } };
    await expect(openStudyFolder(folder, study(longer))).rejects.toThrow(
      /variants\.plain\.train\.epochs is \d+ there, 1000 here \(the rates of schedule cosine depend on the number of epochs\): give/,
    );
    const others = { ...plain, data: { ...plain.data, fingerprint: "g", validation: 20 } };
    await expect(openStudyFolder(folder, study(others))).rejects.toThrow(
      'data.fingerprint is "f" there, "g" here (and 1 more difference)',
    );
  });

  it("asks the runs, not the study that was asked for last", async () => {
    const other = { ...plain, data: { ...plain.data, validation: 30 } };
    await openStudyFolder(folder, study(other)); // nothing was trained
    await openStudyFolder(folder, study(plain, se));
    await leaveRun(other, "failed"); // ended before its first checkpoint
    await openStudyFolder(folder, study(plain, se));
    await leaveRun(se, "done");
    await expect(openStudyFolder(folder, study(other))).rejects.toThrow(
      "data.validation is 50 there, 30 here",
    );
    await openStudyFolder(folder, study(plain));
  });

  it("refuses a study.json of somebody else", async () => {
    await writeFile(join(folder, "study.json"), "[1]");
    await expect(openStudyFolder(folder, study(plain))).rejects.toThrow("study.json: is no study of ours");
  });

  it("writes a damaged study.json anew where its runs are, and still asks them", async () => {
    await leaveRun(plain, "interrupted", true);
    await writeFile(join(folder, "study.json"), "");
    const other = { ...plain, data: { ...plain.data, validation: 30 } };
    await expect(openStudyFolder(folder, study(other))).rejects.toThrow("data.validation is 50 there");
    await openStudyFolder(folder, study(plain));
    expect(JSON.parse(await readFile(join(folder, "study.json"), "utf8"))).toMatchObject({ name: "s" });
  });
});
