import { readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import sharp, { type Sharp } from "sharp";
import { describe, expect, test } from "vitest";
import { loadDataset } from "../../../src/data/load.ts";
import type { LoadOptions, Progress } from "../../../src/data/source.ts";
import { classCounts } from "../../../src/data/split.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { makeTar, plainImage, sharedData, temporaryFolder, writeTree } from "./helpers.ts";

const RED = [200, 10, 20];
const GREEN = [10, 200, 20];
const BLUE = [0, 0, 255];

interface Case {
  images?: string;
  options?: LoadOptions;
  source?: { size?: number | [number, number]; test?: number; seed?: number; masks?: string };
}

/** Loads a tree of files from a folder with an empty cache. */
async function load(files: Record<string, Uint8Array | string>, { options, source }: Case = {}) {
  const root = await temporaryFolder();
  await writeTree(join(root, "images"), files);
  return loadDataset(
    { source: "folder", path: join(root, "images"), ...source },
    { cache: join(root, "cache"), ...options },
  );
}

async function small() {
  const [red, green, blue] = await Promise.all([RED, GREEN, BLUE].map((color) => plainImage(4, 3, color)));
  return {
    "train/dog/a.png": green,
    "train/cat/b.png": red,
    "train/cat/a.png": blue,
    "test/cat/x.png": red,
    "test/dog/y.png": green,
  };
}

describe("class folders", () => {
  test("train/ and test/: sorted classes, files in order, their own size kept", async () => {
    const dataset = await load(await small());
    expect(dataset).toMatchObject({ name: "images", classes: ["cat", "dog"], height: 3, width: 4 });
    expect([...dataset.train.labels]).toEqual([0, 0, 1]);
    expect([...dataset.test.labels]).toEqual([0, 1]);
    const pixel = (images: Uint8Array, n: number) => [...images.subarray(36 * n, 36 * n + 3)];
    expect([0, 1, 2].map((n) => pixel(dataset.train.images, n))).toEqual([BLUE, RED, GREEN]);
    expect([0, 1].map((n) => pixel(dataset.test.images, n))).toEqual([RED, GREEN]);
    expect(dataset.train.images.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  test("the same from a tar, gzipped or not, with a folder around everything, and from val/", async () => {
    const files = await small();
    const { fingerprint } = await load(files);
    const root = await temporaryFolder();
    const members = Object.entries(files).map(([path, bytes]) => ({ path: `pets/${path}`, bytes }));
    members.push({ path: "pets/README.md", bytes: Buffer.from("about pets") });
    await writeFile(join(root, "a.tar"), makeTar([...members].reverse()));
    await writeFile(join(root, "b.tar.gz"), gzipSync(makeTar(members)));
    for (const name of ["a.tar", "b.tar.gz"]) {
      const dataset = await loadDataset({ source: "folder", path: join(root, name) }, { cache: root });
      expect([dataset.name, dataset.fingerprint]).toEqual([name[0], fingerprint]);
    }
    const renamed = Object.entries(files).map(([path, bytes]) => [path.replace("test/", "val/"), bytes]);
    expect((await load(Object.fromEntries(renamed))).fingerprint).toBe(fingerprint);
  });

  test("without test/: a stratified, seeded part of each class", async () => {
    const files: Record<string, Buffer> = {};
    for (let i = 0; i < 20; i++) {
      files[`cat/${i}.png`] = await plainImage(1, 1, [i, 0, 0]);
      if (i < 10) files[`train/${i}.png`] = await plainImage(1, 1, [i, 1, 0]);
    }
    const dataset = await load(files);
    expect(dataset.classes).toEqual(["cat", "train"]);
    expect([...classCounts(dataset.test.labels, 2)]).toEqual([4, 2]);
    expect([...classCounts(dataset.train.labels, 2)]).toEqual([16, 8]);
    const reds = ({ images }: { images: Uint8Array }) => [...images].filter((_, i) => i % 3 === 0);
    expect([...reds(dataset.train), ...reds(dataset.test)].sort((a, b) => a - b)).toEqual(
      [...Array(20).keys(), ...Array(10).keys()].sort((a, b) => a - b),
    );
    expect((await load(files)).fingerprint).toBe(dataset.fingerprint);
    const other = await load(files, { source: { seed: 1, test: 9 } });
    expect(other.test.count).toBe(9);
    expect(other.fingerprint).not.toBe(dataset.fingerprint);
  });

  test.each([
    [
      "no file but hidden ones",
      { ".gitignore": "*" },
      "no images: expected class folders, such as cat/1.jpg",
    ],
    ["loose images", { "1.jpg": "", "2.jpg": "" }, "its images lie in no class folder"],
    ["one class", { "cat/1.jpg": "", "cat/2.jpg": "" }, "only one class, cat"],
    ["test/ only", { "test/cat/1.jpg": "", "test/dog/1.jpg": "" }, "has test/ but no train/"],
    [
      "a class in test/ only",
      { "train/a/1.jpg": "", "train/b/1.jpg": "", "test/a/2.jpg": "", "test/c/2.jpg": "" },
      "test/ has class c, which train/ has not",
    ],
    [
      "an image beside the classes",
      { "train/1.jpg": "", "train/a/1.jpg": "", "train/b/1.jpg": "" },
      "train/1.jpg lies in no",
    ],
    [
      "too few images",
      { "cat/1.jpg": "", "dog/1.jpg": "" },
      "test: class cat has 1 images, and 1 of them would go",
    ],
    ["clutter of file managers", { "cat/.DS_Store": "", "dog/Thumbs.db": "" }, "no images"],
  ])("%s: one clear line", async (_, files, message) => {
    const loading = load(files as Record<string, string>);
    await expect(loading).rejects.toThrow(UserError);
    await expect(loading).rejects.toThrow(message);
    await expect(loading).rejects.not.toThrow("\n");
  });

  test("an empty class folder and a path to nothing", async () => {
    const root = await temporaryFolder();
    await writeTree(root, { "cat/1.png": "", "dog/1.png": "", "frog/.keep": "" });
    const load = (path: string) => loadDataset({ source: "folder", path }, { cache: join(root, ".cache") });
    await expect(load(root)).rejects.toThrow(
      "class folder frog/ holds no image: put images there or remove it",
    );
    await expect(load(join(root, "none"))).rejects.toThrow("none: no such folder or archive");
    await expect(load(join(root, "cat/1.png"))).rejects.toThrow(
      "expected a folder of class folders, or a .tar",
    );
    await symlink(root, join(root, "cat", "loop"));
    await expect(load(root)).rejects.toThrow("more than 8 folders deep: is a link leading back?");
  });

  test("says what it leaves aside", async () => {
    const notes: string[] = [];
    const files = await small();
    const more = { "val/cat/1.png": files["test/cat/x.png"], "extra/1.png": "", "sheet.png": "" };
    await load(
      { ...files, ...more },
      { options: { onNote: (note) => notes.push(note.replace(/^.*images: /, "")) } },
    );
    expect(notes.sort()).toEqual([
      "1 images outside class folders are left aside (sheet.png …)",
      "extra/ is left aside",
      "val/ is left aside",
    ]);
  });

  test("names files that are no images", async () => {
    const files: Record<string, Uint8Array | string> = await small();
    const noise = Buffer.from(Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * i) % 251));
    const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    files["train/cat/cut.jpg"] = whole.subarray(0, 1000);
    await expect(load(files)).rejects.toThrow("1 file is no image that can be read: train/cat/cut.jpg (");
    for (const name of ["b", "c", "d"]) files[`test/dog/${name}.txt`] = "no image";
    const loading = load(files);
    await expect(loading).rejects.toThrow(UserError);
    await expect(loading).rejects.toThrow(
      /images: 4 files are no images that can be read: test\/dog\/b\.txt \(.*c\.txt .*d\.txt .*, and 1 more: repair or remove them$/,
    );
  });
});

describe("decoding", () => {
  /** Left half red, right half blue. */
  async function halves(width: number, height: number): Promise<Sharp> {
    const left = await plainImage(width / 2, height, RED);
    return sharp({ create: { width, height, channels: 3, background: "#0000ff" } }).composite([
      { input: left, left: 0, top: 0 },
    ]);
  }

  const pixel = (images: Uint8Array, width: number, n: number, y: number, x: number) => {
    const at = 3 * ((n * width + y) * width + x);
    return [...images.subarray(at, at + 3)];
  };

  test("any size is cut to its centre and scaled to 32×32", async () => {
    const wide = await (await halves(300, 100)).png().toBuffer();
    const files = {
      "a/1.png": wide,
      "a/2.png": await plainImage(10, 10, RED),
      "b/1.png": wide,
      "b/2.png": wide,
    };
    const dataset = await load(files, { source: { test: 2 } });
    expect([dataset.height, dataset.width]).toEqual([32, 32]);
    const images = new Uint8Array([...dataset.train.images, ...dataset.test.images]);
    const labels = [...dataset.train.labels, ...dataset.test.labels];
    const n = labels.indexOf(1);
    expect(pixel(images, 32, n, 16, 8)).toEqual(RED);
    expect(pixel(images, 32, n, 16, 24)).toEqual(BLUE);
  });

  test.each([
    [16, 16, 16],
    [[8, 12] as [number, number], 8, 12],
  ])("to the size asked for: %j", async (size, height, width) => {
    const dataset = await load(await small(), { source: { size } });
    expect([dataset.height, dataset.width]).toEqual([height, width]);
    expect([...dataset.train.images.subarray(0, 3)]).toEqual(BLUE);
  });

  test("large images of one size become 32×32", async () => {
    const image = await plainImage(65, 65, RED);
    const dataset = await load({ "train/a/1.png": image, "train/b/1.png": image, "test/a/1.png": image });
    expect([dataset.height, dataset.width]).toEqual([32, 32]);
  });

  test("grey, transparent, 16-bit, turned and animated images, in every format", async () => {
    const base = await halves(16, 16);
    const png = await base.png().toBuffer();
    const clear = {
      create: { width: 16, height: 16, channels: 4 as const, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    };
    const files = {
      "train/a/jpg.jpg": await sharp(png).jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer(),
      "train/a/gif.gif": await sharp(png).gif().toBuffer(),
      "train/a/webp.webp": await sharp(png).webp({ lossless: true }).toBuffer(),
      "train/a/tiff.tiff": await sharp(png).tiff().toBuffer(),
      "train/a/deep.png": await sharp(png).toColourspace("rgb16").png().toBuffer(),
      "train/b/grey.png": await sharp(png).greyscale().png().toBuffer(),
      "train/b/clear.png": await sharp(clear).png().toBuffer(),
      // Orientation 6: to be turned a quarter clockwise, so that left comes to the top.
      "train/b/turned.jpg": await sharp(png)
        .withMetadata({ orientation: 6 })
        .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
        .toBuffer(),
      "test/a/a.png": png,
    };
    const { train, classes, height } = await load(files);
    expect([classes, height, train.count]).toEqual([["a", "b"], 16, 8]);
    const near = (n: number, y: number, x: number, color: number[]) => {
      pixel(train.images, 16, n, y, x).forEach((value, c) => {
        expect(Math.abs(value - color[c]), `image ${n}`).toBeLessThan(6);
      });
    };
    // In the order of their names: deep, gif, jpg, tiff, webp; clear, grey, turned.
    for (let n = 0; n < 5; n++) {
      near(n, 8, 2, RED);
      near(n, 8, 13, BLUE);
    }
    near(5, 8, 8, [255, 255, 255]);
    const [grey] = pixel(train.images, 16, 6, 8, 2);
    near(6, 8, 2, [grey, grey, grey]);
    near(7, 2, 8, RED);
    near(7, 13, 8, BLUE);
  });
});

describe("the pack in the cache", () => {
  async function setUp() {
    const root = await temporaryFolder();
    const path = join(root, "images");
    await writeTree(path, await small());
    let decoded = 0;
    const load = async (source = {}) => {
      decoded = 0;
      const onProgress = (progress: Progress) => {
        decoded = progress.done;
      };
      const dataset = await loadDataset({ source: "folder", path, ...source }, { cache: root, onProgress });
      return { dataset, decoded };
    };
    return { root, path, load, packs: () => readdir(join(root, "packs")) };
  }

  test("saves decoding, until a file changes", async () => {
    const { path, load, packs } = await setUp();
    const first = await load();
    expect(first.decoded).toBe(5);
    const second = await load();
    expect(second.decoded).toBe(0);
    expect(second.dataset).toEqual(first.dataset);
    expect(second.dataset.train.images.buffer).toBeInstanceOf(SharedArrayBuffer);

    await utimes(join(path, "train/cat/a.png"), 1, 1);
    expect((await load()).decoded).toBe(5);
    expect(await packs()).toHaveLength(1);
    await rm(join(path, "train/cat/a.png"));
    expect((await load()).dataset.train.count).toBe(2);
    expect(await packs()).toHaveLength(1);
    // Another size is another pack beside it.
    expect((await load({ size: 8 })).decoded).toBe(4);
    expect(await packs()).toHaveLength(2);
    expect((await load()).decoded).toBe(0);
  });

  test("a damaged pack is made anew", async () => {
    const { root, load, packs } = await setUp();
    const { dataset } = await load();
    const file = join(root, "packs", (await packs())[0]);
    for (const bytes of [Buffer.alloc(0), Buffer.from("atento pack 1\n"), Buffer.alloc(4000, 0x7b)]) {
      await writeFile(file, bytes);
      expect(await load()).toEqual({ dataset, decoded: 5 });
    }
    expect((await load()).decoded).toBe(0);
  });

  test("a cache that cannot be written is a note, no error", async () => {
    const root = await temporaryFolder();
    await writeTree(root, { cache: "a file, not a folder" });
    const notes: string[] = [];
    const dataset = await load(await small(), {
      options: { cache: join(root, "cache"), onNote: (note) => notes.push(note) },
    });
    expect(dataset.train.count).toBe(3);
    expect(notes[0]).toContain("images could not be kept for the next start");
  });
});

test("damaged archives of images are loaded or refused, never anything else", async () => {
  const root = await temporaryFolder();
  const members = Object.entries(await small()).map(([path, bytes]) => ({ path, bytes }));
  const archive = makeTar(members);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 3 }),
      async (changes) => {
        const bytes = Buffer.from(archive);
        for (const [at, value] of changes) bytes[at] = value;
        const path = join(root, `${run++}.tar`);
        await writeFile(path, bytes);
        try {
          await loadDataset({ source: "folder", path }, { cache: join(root, "cache") });
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      },
    ),
    { numRuns: 100 },
  );
});

const sample = sharedData("cifar-10-sample.tar.gz");

test.skipIf(!sample)("3,000 images of CIFAR-10 (needs ../shared/data/cifar-10-sample.tar.gz)", async () => {
  const cache = await temporaryFolder();
  const progress: Progress[] = [];
  const source = { source: "folder" as const, path: sample! };
  const dataset = await loadDataset(source, { cache, onProgress: (p) => progress.push(p) });
  expect(dataset.classes.join()).toBe("airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck");
  expect([dataset.height, dataset.width]).toEqual([32, 32]);
  expect([...classCounts(dataset.train.labels, 10)]).toEqual(Array(10).fill(200));
  expect([...classCounts(dataset.test.labels, 10)]).toEqual(Array(10).fill(100));
  expect(progress.at(-1)).toEqual({ phase: "decode", unit: "images", done: 3000, total: 3000 });
  // The channel means of all of CIFAR-10 are known: 0.4914, 0.4822, 0.4465.
  const mean = [0, 1, 2].map((c) =>
    dataset.train.images.reduce((sum, v, i) => sum + (i % 3 === c ? v : 0), 0),
  );
  mean.forEach((sum, c) => {
    expect(Math.abs(sum / (2000 * 1024 * 255) - [0.4914, 0.4822, 0.4465][c])).toBeLessThan(0.01);
  });
  const again = await loadDataset(source, { cache });
  expect(again.fingerprint).toBe(dataset.fingerprint);
});

test("masks of the test images are taken from a folder beside, by their paths, whatever their endings", async () => {
  const masks = await temporaryFolder();
  const [light, dark] = await Promise.all([plainImage(4, 3, [255, 255, 255]), plainImage(4, 3, [0, 0, 0])]);
  await writeTree(masks, { "test/cat/x.bmp.png": light });
  const source = { masks };
  await expect(load(await small(), { source })).rejects.toThrow(/holds no mask of test\/cat\/x\.png/);
  const jpeg = await sharp(light).jpeg().toBuffer();
  await writeTree(masks, { "test/cat/x.jpg": jpeg, "test/dog/y.png": dark, "train/cat/a.png": dark });
  const { test: images, train } = await load(await small(), { source });
  expect([...images.masks!]).toEqual([...new Array(12).fill(1), ...new Array(12).fill(0)]);
  expect(train.masks).toBeUndefined();
});
