import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { colormaps } from "../../../src/cam/draw/colormaps.ts";
import { npy } from "../../../src/cam/draw/npy.ts";
import { colored, enlarged, overlaid } from "../../../src/cam/draw/overlay.ts";
import { drawSheet } from "../../../src/cam/draw/sheet.ts";
import { decodePhotograph } from "../../../src/cam/images.ts";
import { clipped, finished, resizeCorners, resized } from "../../../src/cam/map.ts";
import { coverOf } from "../../../src/data/decode.ts";

describe("maps", () => {
  test("are clipped at 0 and divided by their maximum; one without anything above 0 is 0", () => {
    expect([...clipped(Float32Array.of(-1, 2, 4))]).toEqual([0, 0.5, 1]);
    expect([...clipped(Float32Array.of(-1, -2, Number.NaN))]).toEqual([0, 0, 0]);
  });

  test("are resized with half-pixel centres, edges clamped", () => {
    expect([...resized(Float32Array.of(0, 1), 1, 2, 1, 4)]).toEqual([0, 0.25, 0.75, 1]);
    const wide = resized(Float32Array.of(0, 6, 12, 3, 9, 15), 2, 3, 4, 9);
    // by hand: rows at 0, ¼, ¾, 1 of the way, columns at −⅓, 0, ⅓, ⅔, 1, … clamped
    expect([...wide.subarray(9, 18)].map((x) => Number(x.toFixed(5)))).toEqual(
      [0, 0, 2, 4, 6, 8, 10, 12, 12].map((x) => x + 0.75),
    );
    const corners = [...resizeCorners(Float32Array.of(0, 1), 1, 2, 1, 4)];
    [0, 1 / 3, 2 / 3, 1].forEach((x, k) => {
      expect(corners[k]).toBeCloseTo(x, 6);
    });
  });

  test("are stretched to 0 … 1 at the end", () => {
    const map = finished(Float32Array.of(0, 0, 0, 8), 2, 2, 8, 8);
    expect([Math.min(...map), Math.max(...map)]).toEqual([0, 1]);
  });
});

describe("colours", () => {
  // matplotlib 3.11: cm.jet(x), cm.viridis(x), cm.magma(x), rounded to bytes
  test.each([
    ["jet", 0, [0, 0, 128]],
    ["jet", 0.5, [124, 255, 121]],
    ["jet", 1, [128, 0, 0]],
    ["viridis", 0, [68, 1, 84]],
    ["viridis", 1, [253, 231, 37]],
    ["magma", 0, [0, 0, 4]],
    ["magma", 1, [252, 253, 191]],
  ] as const)("%s at %d", (name, at, expected) => {
    colormaps[name](at).forEach((value, c) => {
      expect(Math.abs(value - expected[c])).toBeLessThan(2.5);
    });
  });

  test("an overlay is alpha of the heatmap over the image", () => {
    const image = { pixels: Uint8Array.of(100, 100, 100), height: 1, width: 1 };
    const heat = colored(Float32Array.of(1), 1, 1, () => [200, 0, 50]);
    expect([...overlaid(image, heat, 0.4).pixels]).toEqual([140, 60, 80]);
  });

  test("an image is enlarged without smoothing", () => {
    const { pixels, width } = enlarged({ pixels: Uint8Array.of(1, 1, 1, 9, 9, 9), height: 1, width: 2 }, 2);
    expect(width).toBe(4);
    expect([...pixels].filter((_, i) => i % 3 === 0)).toEqual([1, 1, 9, 9, 1, 1, 9, 9]);
  });
});

test("a NumPy file has its header, of a multiple of 64 bytes, and its values", () => {
  const file = Buffer.from(npy(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]));
  expect(file.subarray(0, 8)).toEqual(Buffer.from("\x93NUMPY\x01\x00", "latin1"));
  const header = 10 + file.readUInt16LE(8);
  expect(header % 64).toBe(0);
  expect(file.toString("latin1", 10, header)).toMatch(
    /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(2, 3\), \} *\n$/,
  );
  expect(file.readFloatLE(header + 8)).toBe(3);
});

describe("photographs", () => {
  const photo = (width: number, height: number) => {
    const pixels = Buffer.alloc(3 * width * height);
    for (let p = 0; p < width * height; p++) {
      const [x, y] = [p % width, Math.floor(p / width)];
      pixels.set([(x * 7) % 256, (y * 5) % 256, (x * y) % 256], 3 * p);
    }
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
  };

  test.each([
    [64, 64],
    [100, 37],
    [37, 100],
    [333, 500],
    [641, 480],
    [33, 32],
    [32, 33],
    [1000, 31],
    [20, 15],
  ])("%d×%d is cut as a folder's images are, bit by bit", async (width, height) => {
    const file = await photo(width, height);
    const { bytes } = await decodePhotograph(file, "photo.png", [32, 32]);
    const cover = await sharp(file).resize(32, 32, { fit: "cover" }).raw().toBuffer();
    expect(Buffer.from(bytes).equals(cover)).toBe(true);
  });

  test("what is shown lies on the same grid: a pixel of the network is a square of it", async () => {
    const [width, height] = [300, 200];
    const pixels = Buffer.alloc(3 * width * height);
    // a white square, wherever the cut leaves it
    for (let y = 80; y < 120; y++) pixels.fill(255, 3 * (y * width + 130), 3 * (y * width + 170));
    const file = await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    const { bytes, shown } = await decodePhotograph(file, "photo.png", [32, 32], 160);
    expect([shown.width, shown.height]).toEqual([160, 160]);
    const centre = (data: Uint8Array, size: number) => {
      let [sum, x, y] = [0, 0, 0];
      for (let p = 0; p < size * size; p++) {
        sum += data[3 * p];
        x += data[3 * p] * ((p % size) + 0.5);
        y += data[3 * p] * (Math.floor(p / size) + 0.5);
      }
      return [x / sum / size, y / sum / size];
    };
    const [small, large] = [centre(bytes, 32), centre(shown.pixels, 160)];
    // within a fifth of a pixel of the network, which is a pixel of what is shown
    for (const axis of [0, 1]) expect(Math.abs(small[axis] - large[axis]) * 160).toBeLessThan(1);
  });

  test("cover scales by the side that needs most", () => {
    expect(coverOf({ width: 200, height: 100 }, { width: 32, height: 32 })).toEqual({
      ...{ width: 64, height: 32, left: 16, top: 0 },
    });
  });

  test("what is no image is said by name", async () => {
    await expect(decodePhotograph(Buffer.from("no"), "a/b.png", [32, 32])).rejects.toThrow(
      /^a\/b\.png: is no image that can be read/,
    );
  });
});

test("a sheet has room for its cells and titles, and draws the pictures where they belong", async () => {
  const picture = { pixels: new Uint8Array(3 * 40 * 40).fill(7), height: 40, width: 40 };
  const row = (title: string) => ({ title, cells: [1, 2].map(() => ({ picture, caption: "cat 99 %" })) });
  const png = await drawSheet({ title: "t", columns: ["image", "plain"], rows: [row("a"), row("b")] });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const dark = [...Array(info.width * info.height).keys()].filter((p) =>
    [0, 1, 2].every((c) => data[3 * p + c] === 7),
  );
  expect(dark.length).toBe(4 * 40 * 40);
});
