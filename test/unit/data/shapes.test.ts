import { describe, expect, test } from "vitest";
import type { Split } from "../../../src/data/dataset.ts";
import { OUTLINES, points } from "../../../src/data/shapes/outlines.ts";
import { rasterize } from "../../../src/data/shapes/raster.ts";
import { drawShapes } from "../../../src/data/sources/shapes.ts";
import { classCounts } from "../../../src/data/split.ts";

const PIXELS = 32 * 32;
const dataset = drawShapes({ train: 3000, test: 1000 });

type Features = (split: Split, n: number) => number[];

/** Test accuracy of the nearest class mean, every feature divided by its deviation. */
function nearestMeanAccuracy(features: Features): number {
  const { train, test, classes } = dataset;
  const rows = Array.from({ length: train.count }, (_, n) => features(train, n));
  const width = rows[0].length;
  const mean = (members: number[][], f: number) =>
    members.reduce((sum, row) => sum + row[f], 0) / members.length;
  const columns = Array.from({ length: width }, (_, f) => f);
  const means = classes.map((_, label) => {
    const members = rows.filter((_, n) => train.labels[n] === label);
    return columns.map((f) => mean(members, f));
  });
  const all = columns.map((f) => mean(rows, f));
  const deviations = columns.map(
    (f) => Math.sqrt(rows.reduce((s, r) => s + (r[f] - all[f]) ** 2, 0) / rows.length) || 1,
  );
  let right = 0;
  for (let n = 0; n < test.count; n++) {
    const x = features(test, n);
    const distances = means.map((m) => m.reduce((sum, v, f) => sum + ((x[f] - v) / deviations[f]) ** 2, 0));
    if (distances.indexOf(Math.min(...distances)) === test.labels[n]) right++;
  }
  return right / test.count;
}

const pixelsOf = ({ images }: Split, n: number) => images.subarray(n * PIXELS * 3, (n + 1) * PIXELS * 3);
const maskOf = ({ masks }: Split, n: number) => masks!.subarray(n * PIXELS, (n + 1) * PIXELS);

/** Share of pixels in each of 4×4×4 cells of colour. */
const colorHistogram: Features = (split, n) => {
  const histogram = new Array(64).fill(0);
  const pixels = pixelsOf(split, n);
  for (let i = 0; i < pixels.length; i += 3) {
    histogram[(pixels[i] >> 6) * 16 + (pixels[i + 1] >> 6) * 4 + (pixels[i + 2] >> 6)]++;
  }
  return histogram;
};

/** Mean colour and its spread, of the object and of its surroundings. */
const objectColors: Features = (split, n) => {
  const [pixels, mask] = [pixelsOf(split, n), maskOf(split, n)];
  const sums = new Float64Array(6);
  const squares = new Float64Array(6);
  for (let i = 0; i < pixels.length; i++) {
    const k = 3 * mask[Math.floor(i / 3)] + (i % 3);
    sums[k] += pixels[i];
    squares[k] += pixels[i] ** 2;
  }
  const { area } = centroid(mask);
  return [...sums].flatMap((sum, k) => {
    const count = k < 3 ? PIXELS - area : area;
    return [sum / count, squares[k] / count - (sum / count) ** 2];
  });
};

function centroid(mask: Uint8Array) {
  let [area, x, y] = [0, 0, 0];
  mask.forEach((m, i) => {
    area += m;
    x += m * (i % 32);
    y += m * Math.floor(i / 32);
  });
  return { area, x: x / area, y: y / area };
}

const areaAndPlace: Features = (split, n) => {
  const { area, x, y } = centroid(maskOf(split, n));
  return [area, x, y];
};

/** The mask, moved to the middle and scaled to one area: what the shape is, and nothing else. */
const centredMask: Features = (split, n) => {
  const mask = maskOf(split, n);
  const { area, x, y } = centroid(mask);
  const scale = Math.sqrt(area) / 16;
  return Array.from({ length: 33 * 33 }, (_, i) => {
    const [column, row] = [
      Math.round(x + ((i % 33) - 16) * scale),
      Math.round(y + (Math.floor(i / 33) - 16) * scale),
    ];
    return column >= 0 && column < 32 && row >= 0 && row < 32 ? mask[row * 32 + column] : 0;
  });
};

describe("shapes", () => {
  // Chance is 0.1; three standard errors of 1,000 images are 0.03.
  test.each<[string, Features]>([
    ["the colour histogram", colorHistogram],
    ["the colours of object and background", objectColors],
    ["area and place", areaAndPlace],
  ])("%s says next to nothing about the class", (_, features) => {
    expect(nearestMeanAccuracy(features)).toBeLessThan(0.16);
  });

  test("the pixels as they are say little, the object's outline nearly everything", () => {
    expect(nearestMeanAccuracy((split, n) => [...pixelsOf(split, n)])).toBeLessThan(0.2);
    expect(nearestMeanAccuracy(centredMask)).toBeGreaterThan(0.75);
  });

  test("the object stands out: its colour differs from that of the pixels around it", () => {
    const { train } = dataset;
    let faint = 0;
    for (let n = 0; n < 500; n++) {
      const [pixels, mask] = [pixelsOf(train, n), maskOf(train, n)];
      const luma = [0, 0];
      const count = [0, 0];
      mask.forEach((m, i) => {
        luma[m] += 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
        count[m]++;
      });
      if (Math.abs(luma[0] / count[0] - luma[1] / count[1]) < 50) faint++;
    }
    expect(faint / 500).toBeLessThan(0.05);
  });

  test("is balanced, and masks cover a sensible part of the image", () => {
    expect([...classCounts(dataset.train.labels, 10)]).toEqual(Array(10).fill(300));
    for (let n = 0; n < 1000; n++) {
      // Areas are drawn between 0.31² and 0.43² of the image.
      const { area } = centroid(maskOf(dataset.test, n));
      expect(area).toBeGreaterThan(PIXELS * 0.31 ** 2 * 0.8);
      expect(area).toBeLessThan(PIXELS * 0.43 ** 2 * 1.15);
    }
  });

  test("is the same on every machine, for the seed", () => {
    const draw = (seed: number, train = 20) => drawShapes({ train, test: 10, size: 24, seed });
    expect(draw(0).fingerprint).toMatchInlineSnapshot(
      `"5a8efde1b5439a28c2cd3456d272a96f121720487edf08f9797197446e913c3a"`,
    );
    expect(draw(1).fingerprint).not.toBe(draw(0).fingerprint);
    // More images leave the first ones as they are, and the test images.
    expect(draw(0, 30).train.images.subarray(0, 20 * 24 * 24 * 3)).toEqual(draw(0).train.images);
    expect(draw(0, 30).test).toEqual(draw(0).test);
    expect(draw(0).test.images).not.toEqual(draw(0).train.images.subarray(0, 10 * 24 * 24 * 3));
  });
});

describe("outlines", () => {
  test.each(OUTLINES)("$name has area 1 and its centroid at the origin", ({ polygons }) => {
    // By counting points inside, even-odd, of a fine grid: a slanted one, which no edge runs along.
    const steps = 250;
    let [inside, x, y] = [0, 0, 0];
    for (let i = 0; i < steps * steps; i++) {
      const py = (Math.floor(i / steps) + 0.5) * (2.4 / steps) - 1.2;
      const px = ((i % steps) + 0.5) * (3.6 / steps) - 1.8 + 0.37 * py;
      let odd = false;
      for (const polygon of polygons) {
        const corners = points(polygon);
        corners.forEach(([x0, y0], k) => {
          const [x1, y1] = corners[(k + 1) % corners.length];
          if (y0 > py !== y1 > py && px < x0 + ((py - y0) * (x1 - x0)) / (y1 - y0)) odd = !odd;
        });
      }
      if (!odd) continue;
      inside++;
      x += px;
      y += py;
    }
    const cell = (2.4 * 3.6) / steps ** 2;
    expect(inside * cell).toBeCloseTo(1, 2);
    expect(x * cell).toBeCloseTo(0, 2);
    expect(y * cell).toBeCloseTo(0, 2);
  });
});

describe("rasterize", () => {
  const identity = { a: 1, b: 0, c: 0, d: 1, e: 0, f: 0 };
  function cover(polygons: number[][], height: number, width: number, at = identity): number[] {
    const coverage = new Float64Array(height * width);
    rasterize(polygons, at, height, width, coverage, new Float64Array(height * (width + 1)));
    return [...coverage].map((v) => Math.round(v * 1e6) / 1e6);
  }

  test("a rectangle between pixels covers their shares", () => {
    expect(cover([[0.5, 0.25, 2.25, 0.25, 2.25, 1.5, 0.5, 1.5]], 2, 4)).toEqual([
      0.375, 0.75, 0.1875, 0, 0.25, 0.5, 0.125, 0,
    ]);
  });

  test("a triangle covers what lies under its slope", () => {
    // (0,0) (4,0) (0,2): the slope falls by 1/2 a pixel.
    expect(cover([[0, 0, 4, 0, 0, 2]], 2, 4)).toEqual([1, 1, 0.75, 0.25, 0.75, 0.25, 0, 0]);
  });

  test("a hole is left out", () => {
    const square = [0, 0, 3, 0, 3, 3, 0, 3];
    const hole = [1, 1, 1, 2, 2, 2, 2, 1];
    expect(cover([square, hole], 3, 3)).toEqual([1, 1, 1, 1, 0, 1, 1, 1, 1]);
  });

  test("parts outside are cut off, on every side", () => {
    const diamond = [0, -2, 2, 0, 0, 2, -2, 0];
    const whole = cover([diamond], 8, 8, { ...identity, e: 4, f: 4 });
    const at = (y: number, x: number) => whole[y * 8 + x];
    for (const [dy, dx] of [
      [0, 0],
      [2, 1],
      [3, 3],
      [5, 2],
      [1, 5],
      [4, 4],
    ]) {
      const part = cover([diamond], 3, 3, { ...identity, e: 4 - dx, f: 4 - dy });
      const expected = Array.from({ length: 9 }, (_, i) => at(dy + Math.floor(i / 3), dx + (i % 3)) ?? 0);
      expect(part, `${dy},${dx}`).toEqual(expected);
    }
  });
});
