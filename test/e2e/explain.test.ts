import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { scoresSchema } from "../../src/cam/record.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import type { StudyResults } from "../../src/study/results.ts";
import { atento, TINY, temporaryFolder } from "./support.ts";

let folder: ReturnType<typeof temporaryFolder>;
let start: { cwd: string };
const at = (...path: string[]) => join(folder.path, ...path);
const json = (...path: string[]) => JSON.parse(readFileSync(at(...path), "utf8"));

beforeAll(async () => {
  folder = temporaryFolder();
  start = { cwd: folder.path };
  const study = folder.write("tiny.yaml", TINY.replace("variants", "seeds: [1, 2]\nvariants"));
  expect((await atento(["study", study], start)).code).toBe(0);
  const noise = Buffer.from(Array.from({ length: 3 * 90 * 60 }, (_, i) => (i * i) % 251));
  const photo = sharp(noise, { raw: { width: 90, height: 60, channels: 3 } });
  writeFileSync(at("photo.jpg"), await photo.jpeg().toBuffer());
}, 240_000);
afterAll(() => folder.remove());

test("a study explains every run on one sample and says what the maps are worth", () => {
  const runs = ["plain/seed-1", "plain/seed-2", "se/seed-1", "se/seed-2"];
  const scores = runs.map((run) => scoresSchema.parse(json("runs/tiny", run, "cam/scores.json")));
  for (const own of scores) {
    expect(own.images.map(({ index }) => index)).toEqual(scores[0].images.map(({ index }) => index));
    expect(Object.keys(own.methods)).toEqual(["grad-cam", "layer-cam", "eigen-cam", "gradients"]);
    expect(own.methods["grad-cam"].pointing).toBeDefined();
    for (const value of own.methods["grad-cam"].insertion) expect(value >= 0 && value <= 1).toBe(true);
  }
  const count = scores[0].images.length;
  const maps = readSafetensors(readFileSync(at("runs/tiny/se/seed-1/cam/maps.safetensors"))).tensors;
  expect(maps.get("map.grad-cam")!.shape[0]).toBe(count);
  const gates = [...maps.keys()].filter((name) => name.startsWith("gate."));
  expect(gates.length).toBeGreaterThan(0);
  expect(maps.get(gates[0])!.shape[0]).toBe(10);
  const images = readSafetensors(readFileSync(at("runs/tiny/cam/images.safetensors"))).tensors;
  expect(images.get("images")).toMatchObject({ dtype: "U8" });
  expect(images.get("images")!.shape[0]).toBe(count);
  expect(images.get("labels")).toMatchObject({ dtype: "I32", shape: [count] });
  expect(images.get("masks")!.shape.length).toBe(3);

  const { explanations } = json("runs/tiny/results.json") as StudyResults;
  expect(explanations!.runs.map(({ variant, seed }) => `${variant} ${seed}`).sort()).toEqual([
    "plain 1",
    "plain 2",
    "se 1",
    "se 2",
  ]);
  const { insertion, energy } = explanations!.variants["se"]["grad-cam"];
  expect(insertion!.low!).toBeLessThan(insertion!.mean);
  expect(insertion!.high!).toBeGreaterThan(insertion!.mean);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  expect(energy!.mean).toBeCloseTo(
    (mean(scores[2].methods["grad-cam"].energy!) + mean(scores[3].methods["grad-cam"].energy!)) / 2,
    9,
  );
  const table = readFileSync(at("runs/tiny/report/table.md"), "utf8");
  expect(table).toMatch(/insertion \| +deletion|insertion.*deletion.*road.*energy.*pointing/);
});

test("what is missing or of other weights is explained again, with the same bytes on any number of threads", async () => {
  const file = at("runs/tiny/se/seed-1/cam/maps.safetensors");
  const [maps, scores] = [readFileSync(file), readFileSync(at("runs/tiny/se/seed-1/cam/scores.json"))];
  rmSync(file);
  const again = await atento(["study", "tiny.yaml", "--threads", "1"], start);
  expect(again.code).toBe(0);
  expect(readFileSync(file).equals(maps)).toBe(true);
  expect(readFileSync(at("runs/tiny/se/seed-1/cam/scores.json")).equals(scores)).toBe(true);
}, 120_000);

test("a study without images: the first of each class by every variant, in one sheet", async () => {
  const { code, stdout } = await atento(["explain", "runs/tiny", "--out", "all"], start);
  expect(code).toBe(0);
  expect(stdout).toMatch(/image +class +plain +se\n/);
  expect(stdout).toMatch(/gates of +stage/);
  expect(readdirSync(at("all")).sort()).toEqual(["explanations.json", "plain", "se", "sheet.png"]);
  expect(readdirSync(at("all/se")).length).toBe(30);
  const { width, height } = await sharp(at("all/sheet.png")).metadata();
  expect(width).toBeGreaterThan(3 * 160);
  expect(height).toBeGreaterThan(10 * 160);
}, 120_000);

test("photographs and images of a data set, several methods, a class against another", async () => {
  const args = [
    "explain",
    "runs/tiny/plain/seed-1",
    "photo.jpg",
    "shapes:test/5",
    "--method",
    "grad-cam,smooth-grad,ablation-cam",
  ];
  const { code, stdout } = await atento(
    [
      ...args,
      "--class",
      "1",
      "--against",
      "2",
      "--samples",
      "2",
      "--colormap",
      "viridis",
      "--out",
      "some",
      "--json",
    ],
    start,
  );
  expect(code).toBe(0);
  const document = JSON.parse(stdout);
  expect(document).toEqual(json("some/explanations.json"));
  expect(document.images.map((image: { name: string }) => image.name)).toEqual(["photo.jpg", "test-5"]);
  const { plain } = document.images[0].variants;
  expect(plain.explained).toBe(document.classes[1]);
  expect(Object.keys(plain.maps)).toEqual(["grad-cam", "smooth-grad", "ablation-cam"]);
  const [{ height, width, map }] = plain.maps["grad-cam"];
  expect([map.length, map[0].length]).toEqual([height, width]);
  expect(existsSync(at("some/0-photo.jpg.grad-cam.overlay.png"))).toBe(true);
  expect(existsSync(at("some/1-test-5.smooth-grad.npy"))).toBe(true);
}, 120_000);

test.each([
  [["runs/tiny/plain/seed-1", "photo.jpg", "--layer", "layre1"], /layer "layre1": .* did you mean layer1\?/],
  [
    ["runs/tiny/plain/seed-1", "photo.jpg", "--method", "gradcam"],
    /unknown method "gradcam": did you mean grad-cam\?/,
  ],
  [["runs/tiny/plain/seed-1", "photo.jpg", "--class", "nothing"], /unknown class "nothing"/],
  [["runs/tiny/plain/seed-1", "nowhere.jpg"], /nowhere\.jpg: no such image/],
  [["runs/tiny/plain/seed-1", "shapes:test/5000"], /there are 40 images, 0 to 39/],
  [["runs/tiny/plain/seed-1", "tiny.yaml"], /tiny\.yaml: is no image that can be read/],
  [["runs/nothing"], /runs\/nothing: there is no such run or model file/],
  [["runs/tiny", "--seed", "7"], /no finished run has seed 7; there are 1, 2/],
  [["runs/tiny", "--alpha", "2"], /It must be from 0 to 1/],
])("refuses %j in one line", async (args, says) => {
  const { code, stderr, stdout } = await atento(["explain", ...args, "--out", "no"], start);
  expect(stderr).toMatch(says);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect([code, stdout]).toEqual([2, ""]);
});
