import sharp from "sharp";
import { expect, test } from "vitest";
import { contactSheet } from "../../../src/data/contactSheet.ts";
import type { Dataset } from "../../../src/data/dataset.ts";
import { allocateSplit } from "../../../src/data/split.ts";

function twoByTwo(): Dataset {
  const train = allocateSplit(3, 2, 2, { masks: true });
  train.labels.set([1, 0, 1]);
  const [red, green, blue, grey] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [50, 50, 50],
  ];
  train.images.set([red, green, blue, grey, grey, grey, grey, grey, blue, blue, blue, blue].flat());
  train.masks!.set([1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
  const test = allocateSplit(0, 2, 2);
  return { name: "t", classes: ["<cat> & dog", "b"], height: 2, width: 2, train, test, fingerprint: "" };
}

async function sheet(options: { perClass: number; masks?: boolean }) {
  const png = await contactSheet(twoByTwo(), { split: "train", zoom: 16, ...options });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect(info.channels).toBe(3);
  const left = info.width - options.perClass * 38;
  /** Colour at a place inside the image of a row and column. */
  const at = (row: number, column: number, y: number, x: number) => {
    const i = 3 * ((6 + row * 38 + y) * info.width + left + column * 38 + x);
    return [...data.subarray(i, i + 3)];
  };
  return { data, info, left, at };
}

test("a row a class, its name, and pixels as squares", async () => {
  const { data, info, left, at } = await sheet({ perClass: 2 });
  expect(info.height).toBe(2 * 38 + 6);
  expect(at(1, 0, 0, 0)).toEqual([255, 0, 0]);
  expect(at(1, 0, 15, 15)).toEqual([255, 0, 0]);
  expect(at(1, 0, 15, 16)).toEqual([0, 255, 0]);
  expect(at(1, 0, 16, 15)).toEqual([0, 0, 255]);
  expect(at(1, 0, 31, 31)).toEqual([50, 50, 50]);
  expect(at(1, 1, 20, 20)).toEqual([0, 0, 255]);
  expect(at(0, 0, 20, 20)).toEqual([50, 50, 50]);
  // Class 0 has one image: the place beside it stays white.
  expect(at(0, 1, 20, 20)).toEqual([255, 255, 255]);
  const ink = (row: number) => {
    let dark = 0;
    for (let y = 6 + row * 38; y < 38 + row * 38; y++) {
      for (let x = 0; x < left; x++) if (data[3 * (y * info.width + x)] < 128) dark++;
    }
    return dark;
  };
  expect(ink(0)).toBeGreaterThan(150);
  expect(ink(1)).toBeGreaterThan(10);
});

test("the mask's border is drawn inside it", async () => {
  const { at } = await sheet({ perClass: 1, masks: true });
  const pink = [255, 0, 160];
  expect(at(1, 0, 0, 8)).toEqual(pink);
  expect(at(1, 0, 15, 8)).toEqual(pink);
  expect(at(1, 0, 8, 8)).toEqual([255, 0, 0]);
  expect(at(1, 0, 8, 16)).toEqual([0, 255, 0]);
  expect(at(0, 0, 16, 16)).toEqual([50, 50, 50]);
  expect(at(0, 0, 16, 0)).toEqual(pink);
});

test("refuses to draw nothing", async () => {
  await expect(contactSheet(twoByTwo(), { split: "train", perClass: 0 })).rejects.toThrow(
    "at least 1 image a class",
  );
});
