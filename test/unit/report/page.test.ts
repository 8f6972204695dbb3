import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampColor, sample } from "../../../src/report/page/overlay.ts";
import { linearTicks, scale, smooth } from "../../../src/report/page/scale.ts";
import { seriesOf } from "../../../src/report/page/series.ts";
import { TEXTS } from "../../../src/report/page/texts/index.ts";
import { between, verdictOf } from "../../../src/report/page/verdict.ts";
import { pageHtml } from "../../../src/report/page.ts";
import { pageData } from "../../../src/report/page-data.ts";
import { readStudy } from "../../../src/report/study-record.ts";
import { comparisonsOf } from "../../../src/study/comparisons.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { writeMadeUpStudy } from "../../support/studyFiles.ts";
import { finishedRun } from "../study/support.ts";

const compared = (plain: readonly number[], se: readonly number[]) =>
  comparisonsOf([
    ...plain.map((testAccuracy, k) => finishedRun("plain", k + 1, { testAccuracy })),
    ...se.map((testAccuracy, k) => finishedRun("se", k + 1, { testAccuracy })),
  ])[0];

describe("a sentence on a pair", () => {
  const { en, es } = TEXTS;

  it("says how far one is above the other, and that it is shown", () => {
    const pair = compared([0.9, 0.91, 0.9], [0.91, 0.9205, 0.9095]);
    // differences 1, 1.05, 0.95 points: mean 1, deviation 0.05, half 4.302653·0.05/√3
    expect(verdictOf(pair).kind).toBe("shown");
    expect(en.pair(pair)).toBe(
      "se is 1.0 points above plain, 95 % interval 0.88 to 1.1; that is unlikely to be chance (p < 0.001 with 3 seeds, corrected for all pairs).",
    );
    expect(es.pair(pair)).toMatch(
      /^se está 1,0 puntos por encima de plain, intervalo del 95 % de 0,88 a 1,1; es poco probable/,
    );
  });

  it("takes the side of the one ahead", () => {
    const pair = compared([0.91, 0.9205, 0.9095], [0.9, 0.91, 0.9]);
    expect(en.pair(pair)).toMatch(/^plain is 1\.0 points above se, 95 % interval 0\.88 to 1\.1;/);
    expect(between([pair], "plain", "se")!.mean).toBeCloseTo(0.01, 12);
    expect(between([pair], "se", "plain")!.mean).toBeCloseTo(-0.01, 12);
  });

  it("says that nothing is shown, and how many seeds would be needed", () => {
    const pair = compared([0.9, 0.91, 0.9], [0.91, 0.912, 0.897]);
    const { seedsNeeded } = pair;
    expect(seedsNeeded).toBeGreaterThan(3);
    expect(en.pair(pair)).toMatch(
      new RegExp(
        `^No difference shown between se and plain with 3 seeds \\(0\\.30 points, 95 % interval −1\\.3 to 1\\.9\\); about ${seedsNeeded} would be needed`,
      ),
    );
  });

  it("says what cannot be concluded of one seed, and of equal differences", () => {
    expect(en.pair(compared([0.9], [0.92]))).toBe(
      "se is 2.0 points above plain with one seed. One seed does not tell whether training again would show it.",
    );
    expect(en.pair(compared([0.5, 0.5], [0.5, 0.5]))).toBe("se and plain are equal with each of 2 seeds.");
    expect(es.pair(compared([0.5], [0.5]))).toContain("no se sabe qué daría otro entrenamiento");
  });
});

describe("scales", () => {
  it("have round ticks", () => {
    expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(linearTicks(509_594, 556_202, 4)).toEqual([520_000, 540_000]);
    expect(scale([0.04, 3], [0, 100], { log: true }).ticks).toEqual([0.05, 0.1, 0.2, 0.5, 1, 2]);
  });

  it("go there and back", () => {
    for (const log of [false, true]) {
      const { at, value } = scale([0.1, 10], [50, 250], { log });
      expect([at(0.1), at(10)]).toEqual([50, 250]);
      expect(value(at(3.7))).toBeCloseTo(3.7, 10);
    }
    expect(scale([0.1, 10], [0, 100], { log: true }).at(1)).toBeCloseTo(50, 10);
  });

  it("smooth as TensorBoard does, corrected for the start", () => {
    expect(smooth([4, 4, 4], 0.9).map((x) => Number(x.toFixed(12)))).toEqual([4, 4, 4]);
    // (0.5·0.5·0 + 0.5·1)/(1 − 0.25)
    expect(smooth([0, 1], 0.5)[1]).toBeCloseTo(2 / 3, 12);
    expect(smooth([1, 2, 3], 0)).toEqual([1, 2, 3]);
  });

  it("gather mean and band over seeds, also where one is behind", () => {
    const run = (seed: number, values: readonly number[]) => ({
      ...{ variant: "a", seed, status: "done" as const, epochs: 2 },
      records: values.map((trainLoss, k) => ({ epoch: k + 1, step: 1, lr: 1, trainLoss, trainAccuracy: 0 })),
    });
    const series = seriesOf([run(1, [1, 2]), run(2, [3])], "a", (r) => r.trainLoss, 0);
    expect(series).toEqual([
      { epoch: 1, mean: 2, low: 1, high: 3, seeds: 2 },
      { epoch: 2, mean: 2, low: 2, high: 2, seeds: 1 },
    ]);
  });
});

describe("an overlay", () => {
  it("takes a map's values between the centres of its cells", () => {
    const map = Uint8Array.of(0, 255, 51, 102);
    expect(sample(map, 2, 2, 0.25, 0.25)).toBe(0);
    expect(sample(map, 2, 2, 0.25, 0.75)).toBe(1);
    expect(sample(map, 2, 2, 0.5, 0.5)).toBeCloseTo((0 + 255 + 51 + 102) / 4 / 255, 12);
    expect(sample(map, 2, 2, 1, 0)).toBeCloseTo(0.2, 12);
  });

  it("has colours that grow lighter", () => {
    const light = [0, 0.25, 0.5, 0.75, 1].map((value) => {
      const [r, g, b] = rampColor(value);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    });
    expect([...light].sort((a, b) => a - b)).toEqual(light);
  });
});

describe("a study's folder", () => {
  let folder: string;
  let study: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "atento-page-"));
    study = await writeMadeUpStudy(folder, { epochs: 5, testImages: 100, seeds: [1, 2], running: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is read with what is finished and what is not", async () => {
    const { runs, results } = await readStudy(study);
    expect(runs.map(({ file }) => file.settings.variant).slice(0, 4)).toEqual([
      "plain",
      "se",
      "cbam",
      "se-adam",
    ]);
    expect(runs).toHaveLength(8);
    expect(results!.runs).toHaveLength(7);
    expect(runs[7].file.status).toBe("running");
    expect(runs[7].test).toBeUndefined();
    expect(runs[7].epochs).toHaveLength(2);
    const [data] = (await pageData([await readStudy(study)], "en")).studies;
    const [first] = data.heatmaps!.runs;
    expect(first).toMatchObject({ variant: "plain", seed: 1, layer: "layer4" });
    expect(Buffer.from(first.methods[0].maps!, "base64")).toHaveLength(16 * 8 * 8);
    expect(Math.max(...Buffer.from(first.methods[0].maps!, "base64"))).toBe(255);
    expect(data.heatmaps!.gates.map(({ variant }) => variant)).not.toContain("plain");
  });

  it("gives one file that names no other, whatever names say", async () => {
    const record = await readStudy(study);
    const named = { ...record, file: { ...record.file, name: "</script><b>&" } };
    const html = await pageHtml(await pageData([named], "es"));
    expect(html).not.toMatch(/<(script|link|img|iframe)[^>]*\b(src|href)="(?!data:)/);
    expect(html).toContain("<title>&#60;/script&#62;&#60;b&#62;&#38;: una comparación</title>");
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html.length).toBeLessThan(1_500_000);
  });

  it("whose heatmaps are damaged is refused by the file's name", async () => {
    const run = join(study, "plain", "seed-1");
    const refusal = (job: Promise<unknown>) =>
      job.then(
        () => expect.unreachable(),
        (error) => {
          expect(error).toBeInstanceOf(UserError);
          return (error as Error).message;
        },
      );
    const path = join(run, "cam", "scores.json");
    const scores = JSON.parse(readFileSync(path, "utf8"));
    scores.images.pop();
    writeFileSync(path, JSON.stringify(scores));
    expect(await refusal(readStudy(study))).toMatch(
      /scores\.json: holds no figures of heatmaps \(methods\.[\w-]+\.\w+: 16 values for 15 images\)/,
    );
    writeFileSync(path, "{");
    expect(await refusal(readStudy(study))).toMatch(
      /scores\.json: holds no figures of heatmaps \(it is no JSON\)/,
    );
    expect(await refusal(readStudy(folder))).toContain("holds no study (there is no study.json)");
    expect(await refusal(readStudy(join(folder, "no")))).toContain("there is no such folder");
  });
});
