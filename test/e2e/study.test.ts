import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeKeras } from "../../src/exchange/keras/write.ts";
import type { StudyResults } from "../../src/study/results.ts";
import { loadTrained } from "../../src/train/trained.ts";
import { atento, TINY, temporaryFolder } from "./support.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

const json = (...path: string[]) => JSON.parse(readFileSync(join(folder.path, ...path), "utf8"));

/** Figures that do not tell how fast the machine was. */
function learnt({ runs }: StudyResults) {
  return runs.map(({ elapsedMs: _, imagesPerSecond: __, ...figures }) => figures);
}

describe("atento study", () => {
  it("trains a study that is interrupted as if it had not been, and reports it", async () => {
    const study = folder.write("tiny.yaml", TINY.replace("epochs: 2", "epochs: 12"));
    const start = { cwd: folder.path };
    let sent = false;
    const stopped = await atento(["study", study], {
      ...start,
      onStderr: (text, kill) => {
        if (!sent && text.includes("epoch 1 of 12")) kill("SIGINT");
        sent ||= text.includes("epoch 1 of 12");
      },
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stdout).toBe("");
    expect(stopped.stderr).toContain("to go on: atento study tiny.yaml");
    expect(json("runs/tiny/plain/seed-1/run.json").status).toBe("interrupted");
    expect(readdirSync(join(folder.path, "runs/tiny"))).toEqual(["cam", "plain", "study.json"]);

    const done = await atento(["study", study], start);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stderr).toContain("plain, seed 1 (run 1 of 2): goes on after step ");
    expect(done.stdout).toMatch(/variant .* test acc\. % .*\n─+.*\nplain .*\nse /);

    const whole = await atento(["study", study, "--out", "whole", "--json"], start);
    expect(whole.code).toBe(0);
    const results: StudyResults = json("runs/tiny/results.json");
    expect(learnt(results)).toEqual(learnt(json("whole/tiny/results.json")));
    expect(JSON.parse(whole.stdout).results).toEqual(json("whole/tiny/results.json"));

    const { statistics } = results;
    expect(Object.keys(statistics)).toEqual(["plain", "se"]);
    expect(statistics.plain).toMatchObject({ runs: 1, epochs: { mean: 12 } });
    expect(json("runs/tiny/study.json")).toMatchObject({
      name: "tiny",
      seeds: [1],
      data: { name: "shapes" },
    });
    const metrics = readFileSync(join(folder.path, "runs/tiny/plain/seed-1/metrics.jsonl"), "utf8");
    const epochs = metrics
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).epoch);
    expect(epochs).toEqual(Array.from({ length: 12 }, (_, k) => k + 1));

    const again = await atento(["study", study], start);
    expect(again.code).toBe(0);
    expect(again.stderr).not.toContain("epoch ");
    expect(again.stdout).toBe(done.stdout);
  }, 240_000);

  it("writes a table and pictures of the size their specification says", async () => {
    const study = folder.write("tiny.yaml", TINY.replace("variants", "seeds: [1, 2]\nvariants"));
    const { code, stdout } = await atento(["study", study, "--threads", "1"], { cwd: folder.path });
    expect(code).toBe(0);
    expect(stdout).toContain(" ± ");
    const report = join(folder.path, "runs/tiny/report");
    expect(readdirSync(report).sort()).toEqual([
      ...["accuracy.png", "accuracy.svg", "confusion.png", "confusion.svg", "cost.png", "cost.svg"],
      ...["differences.png", "differences.svg", "heatmaps.png", "index.html", "loss.png", "loss.svg"],
      ...["metrics.csv", "speed.md", "table.csv", "table.md", "table.tex", "tensorboard"],
    ]);
    expect(stdout).toMatch(/se .* plain|plain .* se/);
    expect(stdout).toContain(join("runs/tiny/report/index.html"));
    const page = readFileSync(join(report, "index.html"), "utf8");
    expect(page).toContain('"command":"npx atento study tiny.yaml"');
    expect(page).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
    expect(readFileSync(join(report, "table.md"), "utf8")).toMatch(/\| plain \|.*\n\| se \|/);
    for (const metric of ["accuracy", "loss", "cost", "differences", "confusion"]) {
      const svg = readFileSync(join(report, `${metric}.svg`), "utf8");
      const [, width, height] = /<svg[^>]* width="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? [];
      const { info } = await sharp(join(report, `${metric}.png`))
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect([info.width, info.height]).toEqual([2 * Number(width), 2 * Number(height)].map(Math.round));
      expect(info.width).toBeGreaterThan(500);
    }
    // one more seed alone joins those that are there
    const more = await atento(["study", study, "--seeds", "3", "--json"], { cwd: folder.path });
    const runs = (JSON.parse(more.stdout).results as StudyResults).runs;
    expect(runs.filter(({ variant }) => variant === "se").map(({ seed }) => seed)).toEqual([1, 2, 3]);
    const answer = JSON.parse(more.stdout);
    expect(answer.page).toBe(join("runs/tiny/report/index.html"));
    const [pair] = (answer.results as StudyResults).comparisons;
    expect(pair).toMatchObject({ first: "se", second: "plain", seeds: [1, 2, 3] });
    expect(pair.images!.count).toBe(40);
    const reported = await atento(["report", "runs/tiny", "--json"], { cwd: folder.path });
    expect(JSON.parse(reported.stdout).results.comparisons).toEqual([pair]);
  }, 240_000);

  it("says what it would train, how large it is and how long it would take", async () => {
    const study = folder.write("tiny.yaml", TINY);
    const start = { cwd: folder.path };
    const text = await atento(["study", study, "--dry-run"], start);
    expect(text.code).toBe(0);
    expect(text.stdout).toContain("study tiny: 2 variants × 1 seed (1)");
    expect(text.stdout).toContain("training 280, validation 40, test 40");
    expect(text.stdout).toMatch(/expected on this machine: \d/);
    const plan = JSON.parse((await atento(["study", study, "--dry-run", "--json"], start)).stdout);
    expect(plan.variants.map((row: { variant: string }) => row.variant)).toEqual(["plain", "se"]);
    expect(plan.variants[0]).toMatchObject({ stepsPerEpoch: 14, trainImages: 280 });
    expect(plan.expectedMs).toBeGreaterThan(0);
    expect(readdirSync(folder.path)).toEqual(["tiny.yaml"]);
  }, 120_000);

  it("refuses a folder of runs that cannot be compared", async () => {
    const start = { cwd: folder.path };
    expect((await atento(["study", folder.write("a.yaml", TINY)], start)).code).toBe(0);
    const other = folder.write("b.yaml", TINY.replace("lr: 0.05", "lr: 0.06"));
    const refused = await atento(["study", other], start);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toBe(
      `error: ${join("runs", "tiny")}: holds runs that cannot be compared with these: ` +
        "variants.plain.train.optimizer.lr is 0.05 there, 0.06 here (and 1 more difference): " +
        "give the study another name, choose another --out, or remove the folder\n",
    );
  }, 120_000);
});

describe("a run", () => {
  const model = "resnet14 --stem pooled --depths 1 --widths 4 --expansion 2".split(" ");

  it("can be trained, judged and found done", async () => {
    const start = { cwd: folder.path };
    const training = "--attention se --epochs 1 --batch 100 --optimizer adam".split(" ");
    const trained = await atento(["train", ...model, ...training, "--no-bias"], start);
    expect(trained).toMatchObject({ code: 0, stdout: expect.stringMatching(/test accuracy [\d.]+ %/) });
    const run = "runs/train/resnet14-se/seed-1";
    const settings = json(run, "run.json").settings;
    expect(settings.model.attention).toMatchObject({ name: "se", options: { bias: false } });
    expect(settings.train).toMatchObject({ epochs: 1, batch: 100, optimizer: { name: "adam", lr: 1e-3 } });
    expect(settings.data.validation).toBe(500);

    const judged = await atento(["eval", run, "--json"], start);
    const evaluation = JSON.parse(judged.stdout);
    expect(evaluation.accuracy).toBe(json(run, "run.json").figures.testAccuracy);
    expect(evaluation.confusion.flat().reduce((sum: number, n: number) => sum + n, 0)).toBe(1000);
    const text = await atento(["eval", join(run, "model.safetensors")], start);
    expect(text.stdout).toMatch(
      / on 1,000 test images of shapes: accuracy .*\n\n.*class.*images.*acc\. %.*→10\n/,
    );

    const kept = await loadTrained(join(folder.path, run));
    await writeKeras(kept, join(folder.path, "model.h5"), { weightsOnly: false });
    const keras = await atento(["eval", "model.h5", "--json"], start);
    expect(JSON.parse(keras.stdout).predictions).toEqual(evaluation.predictions);
    const { data: _, ...foreign } = { ...kept, assumed: ["classes", "normalization"] as const };
    await writeKeras(foreign, join(folder.path, "foreign.h5"), { weightsOnly: false });
    const nameless = await atento(["eval", "foreign.h5"], start);
    expect(nameless.stderr).toContain(
      "foreign.h5: does not say what it was trained on: name the data with --data",
    );
    const { mean, std } = kept.normalization;
    const values = ["--mean", mean.join(), "--std", std.join()];
    const named = await atento(["eval", "foreign.h5", "--data", "shapes", ...values, "--json"], start);
    expect(JSON.parse(named.stdout)).toMatchObject({
      predictions: evaluation.predictions,
      assumed: ["classes"],
    });
    expect(named.stderr).toContain("foreign.h5: assumed class names: those of the data, in their order");

    const resumed = await atento(["resume", run, "--json"], start);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ status: "done", figures: { epochs: 1 } });

    const other = await atento(["train", ...model, ...training], start);
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/^error: .*seed-1: holds another run: [^\n]*bias is false there[^\n]*\n$/m);
  }, 120_000);
});
