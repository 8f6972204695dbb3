import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readImage } from "../../src/data/decode.ts";
import { loadDataset } from "../../src/data/load.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { SafetensorsFile } from "../../src/formats/sealed.ts";
import { fuzz } from "../../src/fuzz/run.ts";
import type { Target } from "../../src/fuzz/target.ts";
import { makeTargets } from "../../src/fuzz/targets.ts";
import { loadStudy } from "../../src/study/presets.ts";
import { parseStudy } from "../../src/study/study.ts";
import { UserError } from "../../src/tensor/errors.ts";
import { readRunFile } from "../../src/train/run-folder.ts";
import { fileOf } from "./formats/support.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "atento-hostile-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]) => join(folder, ...path);

async function refusal(job: () => unknown): Promise<string> {
  const began = performance.now();
  try {
    await job();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect(performance.now() - began).toBeLessThan(10_000);
    return (error as Error).message;
  }
  return expect.unreachable("it should have been refused");
}

describe("a study file", () => {
  const refused = (text: string) => refusal(() => parseStudy(text, "x.yaml"));

  it("that grows without end when its aliases are followed is refused", async () => {
    const levels = Array.from({ length: 12 }, (_, k) => {
      const inner = k === 0 ? '"ha"' : `*l${k - 1}`;
      return `l${k}: &l${k} [${Array.from({ length: 10 }, () => inner).join(", ")}]`;
    });
    expect(await refused(`${levels.join("\n")}\nname: *l11\n`)).toMatch(
      /^x\.yaml:1:1: Excessive alias count/,
    );
  });

  it.each([
    ["opens 40,000 lists", "[".repeat(40_000)],
    ["opens and closes 16,000 tables", `${"{a: ".repeat(8000)}1${"}".repeat(8000)}`],
    ["has 6,000 keys", Array.from({ length: 6000 }, (_, k) => `k${k}:`).join("\n")],
    ["has 4,000 anchors", Array.from({ length: 4000 }, (_, k) => `- &a${k}`).join("\n")],
    [
      "asks for a billion blocks",
      "name: x\ndata: {source: shapes}\nmodel: {depths: [1000000000]}\nvariants: {a: }",
    ],
  ])("that %s is refused soon", async (_, text) => {
    expect(await refused(text)).toMatch(/^x\.yaml:\d+:\d+: /);
  });

  it("that is too long, or never ends, is refused by its first letters", async () => {
    expect(await refused("#".repeat(50_001))).toMatch(/^x\.yaml: is longer than the 50000 letters/);
    expect(await refusal(() => loadStudy("/dev/zero"))).toMatch(/^\/dev\/zero: is longer than/);
  });

  it("of any text is understood or refused", () => {
    const words = fc.constantFrom(
      "name",
      "data",
      "source",
      "shapes",
      "seeds",
      "variants",
      "train",
      "epochs",
      "&a",
      "*a",
    );
    const signs = fc.constantFrom(
      ": ",
      "\n",
      "  ",
      "- ",
      "[",
      "]",
      "{",
      "}",
      ", ",
      "'",
      '"',
      "|\n",
      "!!int ",
      "1e999",
      "~",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(words, signs, fc.string()), { maxLength: 60 }), (parts) => {
        try {
          parseStudy(parts.join(""), "x.yaml");
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a safetensors file", () => {
  it("whose header is of any JSON is read or refused", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.nat(64), (shape, offsets, bytes) => {
        const header = { w: { dtype: "F32", shape, data_offsets: offsets } };
        try {
          readSafetensors(fileOf(header, new Uint8Array(bytes)));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          expect((error as Error).message).not.toMatch(/\n/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("whose header is nested a million deep is refused", async () => {
    const deep = `{"w":{"dtype":"F32","data_offsets":[0,4],"shape":${"[".repeat(1e6)}${"]".repeat(1e6)}}}`;
    expect(await refusal(() => readSafetensors(fileOf(deep, new Uint8Array(4))))).toMatch(
      /tensor w: shape|header is not JSON/,
    );
  });

  it("that claims more than the disk holds costs no memory", async () => {
    const path = at("sparse.safetensors");
    const floats = 2 ** 34;
    const header = { w: { dtype: "F32", shape: [floats], data_offsets: [0, 4 * floats] } };
    writeFileSync(path, fileOf(header));
    const bytes = readFileSync(path).length;
    expect(await refusal(() => SafetensorsFile.with(path, async () => {}))).toMatch(
      /ends at byte 68719476736/,
    );
    truncateSync(path, bytes + 4 * floats); // 64 GiB of nothing
    const before = process.memoryUsage().rss;
    await SafetensorsFile.with(path, async ({ header: read }) => expect(read.entries.size).toBe(1));
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 26);
  });
});

describe("a folder of images", () => {
  const load = (path: string) => loadDataset({ source: "folder", path }, { cache: at("cache") });
  const png = (color: string, width = 16) =>
    sharp({ create: { width, height: 16, channels: 3, background: color } })
      .png()
      .toBuffer();

  /** The same image, claiming another size, and depth and colour type as a PNG says them. */
  async function claiming(width: number, height: number, depthAndColor = [8, 2]): Promise<Buffer> {
    const bytes = await png("red");
    bytes.writeUInt32BE(width, 16);
    bytes.writeUInt32BE(height, 20);
    bytes.set(depthAndColor, 24);
    bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
    return bytes;
  }

  it("is refused by the names of images that are cut off or claim to be huge", async () => {
    for (const name of ["cat", "dog"]) {
      mkdirSync(at("images", name), { recursive: true });
      for (let k = 0; k < 6; k++)
        writeFileSync(at("images", name, `${k}.png`), await png(name === "cat" ? "red" : "blue"));
    }
    expect((await load(at("images"))).classes).toEqual(["cat", "dog"]);
    const jpeg = await sharp(await png("green", 200))
      .jpeg()
      .toBuffer();
    writeFileSync(at("images/cat/7.jpg"), jpeg.subarray(0, jpeg.length / 2));
    writeFileSync(at("images/dog/8.png"), await claiming(60_000, 60_000));
    writeFileSync(at("images/dog/9.png"), await claiming(2 ** 31 - 1, 2 ** 31 - 1));
    const message = await refusal(() => load(at("images")));
    expect(message).toMatch(
      /images: 3 files are no images that can be read: cat\/7\.jpg \(.*\), dog\/8\.png \(.*pixel limit.*\), dog\/9\.png/,
    );
    // few pixels, but lines of a hundred million bytes
    const long = await refusal(async () => readImage(await claiming(8_000_000, 10), { height: 8, width: 8 }));
    expect(long).toContain("8000000 × 10 pixels: expected a side at most 100 times the other");
    // under 100 megapixels, but of four channels of 16 bits
    const deep = await claiming(9000, 9000, [16, 6]);
    expect(await refusal(() => readImage(deep, { height: 8, width: 8 }))).toContain("are too many");
  });

  it("is refused as a tar with paths that climb out, links, or absolute paths; nothing is touched", async () => {
    mkdirSync(at("tars/in/cat"), { recursive: true });
    writeFileSync(at("tars/outside.png"), "mine");
    writeFileSync(at("tars/in/cat/1.png"), await png("red"));
    const tar = (...args: string[]) => execFileSync("tar", args, { cwd: at("tars/in"), stdio: "ignore" });
    tar("-cPf", "../climbs.tar", "cat", "../outside.png");
    tar("-cPf", "../absolute.tar", "cat", at("tars/outside.png"));
    execFileSync("ln", ["-s", "../../outside.png", at("tars/in/cat/2.png")]);
    execFileSync("ln", [at("tars/in/cat/1.png"), at("tars/in/cat/3.png")]);
    tar("-cf", "../links.tar", "cat/2.png");
    tar("-cf", "../hard.tar", "cat/1.png", "cat/3.png");
    const before = readdirSync(folder, { recursive: true }).sort();
    expect(await refusal(() => load(at("tars/climbs.tar")))).toContain(
      '"../outside.png" points out of the archive',
    );
    expect(await refusal(() => load(at("tars/absolute.tar")))).toContain("has an absolute path");
    expect(await refusal(() => load(at("tars/links.tar")))).toContain("is a SymbolicLink");
    expect(await refusal(() => load(at("tars/hard.tar")))).toContain("is a Link");
    expect(readdirSync(folder, { recursive: true }).sort()).toEqual(before);
    expect(readFileSync(at("tars/outside.png"), "utf8")).toBe("mine");
  });
});

it("a record of a run of any JSON is read or refused in one line", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), fc.jsonValue(), async (settings, figures) => {
      const run = { atento: "0", settings, environment: {}, status: "done", startedAt: "", figures };
      writeFileSync(at("run.json"), JSON.stringify(run));
      const error = await readRunFile(folder).catch((error) => error);
      if (error instanceof Error) expect(error).toBeInstanceOf(UserError);
    }),
    { numRuns: 200 },
  );
});

describe("changed files are read or refused, soon:", () => {
  let targets: readonly Target[];
  beforeAll(async () => {
    mkdirSync(at("fuzz"));
    targets = await makeTargets(at("fuzz"));
  });

  // the names, so that each is a test of its own
  const names = [
    ...["safetensors", "checkpoint", "model file", "run.json", "metrics.jsonl", "test.json"],
    ...["ONNX model", "state dict", "Keras model", "Keras weights", "model_config", "tar", "images"],
    ...["pack of images", "study file", "CIFAR-10", "study.json", "heatmaps: scores.json"],
    ...["heatmaps: maps.safetensors", "heatmaps: images.safetensors", "photograph to explain"],
  ];
  it.each(names)("%s", async (name) => {
    expect(targets.map((target) => target.name).sort()).toEqual([...names].sort());
    const target = targets.find((target) => target.name === name)!;
    const { accepted, refused } = await fuzz(target, 150, 2);
    expect(accepted + refused).toBe(150);
  });
});
