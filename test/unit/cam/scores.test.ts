import { describe, expect, test } from "vitest";
import {
  areaUnder,
  blur,
  dropAndIncrease,
  type Explained,
  insertionDeletion,
  pixelOrder,
  type Score,
} from "../../../src/cam/faithfulness.ts";
import { localisation, spearman } from "../../../src/cam/localisation.ts";
import { Imputer, road } from "../../../src/cam/road.ts";
import { meanInterval } from "../../../src/study/interval.ts";

/** Stands for a network: a class's probability is the sum of its pixel in the first channel. */
const pixelScore =
  (size: number, pixelOf: (label: number) => number): Score =>
  async (count, draw, classOf) =>
    Float32Array.from({ length: count }, (_, k) => {
      const image = new Float32Array(size);
      draw(k, image);
      return image[pixelOf(classOf(k))];
    });

/** One image whose pixels are all 1, 4×5. */
const explained = (map: readonly number[]): Explained => ({
  images: new Float32Array(60).fill(1),
  maps: Float32Array.from(map),
  classes: [0],
  height: 4,
  width: 5,
});
/** Falls from pixel 0 to pixel 19. */
const falling = Array.from({ length: 20 }, (_, p) => 1 - p / 20);

test("pixels are ordered by value, equals in one fixed order that is not that of the image", () => {
  expect([...pixelOrder(Float32Array.of(0.1, 0.9, 0.5))]).toEqual([1, 2, 0]);
  const equal = pixelOrder(new Float32Array(64));
  expect([...equal].sort((a, b) => a - b)).toEqual([...Array(64).keys()]);
  expect([...equal]).not.toEqual([...Array(64).keys()]);
  expect(pixelOrder(new Float32Array(64))).toEqual(equal);
});

test("the area under a curve is that of its trapezoids", () => {
  expect(areaUnder([0, 1])).toBe(0.5);
  expect(areaUnder([1, 1, 0, 0, 0])).toBeCloseTo(0.375, 12);
});

describe("insertion and deletion", () => {
  test("a pixel that decides all, taken away first: the probability is 1 before, 0 from the first step on", async () => {
    const { deletion } = await insertionDeletion(
      explained(falling),
      pixelScore(60, () => 0),
    );
    expect(deletion[0]).toBeCloseTo(0.5 / 20, 6);
  });

  test("taken away last, it is 1 until the last step", async () => {
    const { deletion } = await insertionDeletion(
      explained(falling),
      pixelScore(60, () => 19),
    );
    expect(deletion[0]).toBeCloseTo(19.5 / 20, 6);
  });

  test("insertion begins with the blurred image and ends with the image", async () => {
    const at = explained(falling);
    at.images.fill(0);
    at.images[7] = 1;
    const start = blur(at.images, 4, 5)[7];
    const { insertion } = await insertionDeletion(
      at,
      pixelScore(60, () => 7),
    );
    // pixel 7 is the eighth to come: before its step what the blur left of it, 1 from there on
    expect(start).toBeGreaterThan(0);
    expect(insertion[0]).toBeCloseTo((8 * start + 13 - (start + 1) / 2) / 20, 6);
  });

  test("a blur keeps what is constant, and spreads a point evenly to both sides", () => {
    const constant = blur(new Float32Array(60).fill(3), 4, 5);
    for (const value of constant) expect(value).toBeCloseTo(3, 5);
    const point = new Float32Array(3 * 15 * 15);
    point[7 * 15 + 7] = 1;
    const spread = blur(point, 15, 15);
    expect(spread[7 * 15 + 6]).toBeCloseTo(spread[7 * 15 + 8], 6);
    expect(spread[7 * 15 + 6] / spread[7 * 15 + 7]).toBeCloseTo(Math.exp(-1 / 50), 2);
    expect(spread.slice(225).every((value) => value === 0)).toBe(true);
  });
});

describe("ROAD", () => {
  test("a pixel removed becomes the weighed mean of its neighbours", () => {
    const image = new Float32Array(27);
    image.set([1, 2, 3, 4, 99, 6, 7, 8, 9]);
    new Imputer(3, 3, 0).impute(image, Uint32Array.of(4));
    expect(image[4]).toBeCloseTo((2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 9) / 12, 4);
  });

  test("at a corner what lies outside does not count", () => {
    const image = new Float32Array(27);
    image.set([99, 2, 3, 4, 5, 6, 7, 8, 9]);
    new Imputer(3, 3, 0).impute(image, Uint32Array.of(0));
    expect(image[0]).toBeCloseTo(((2 + 4) / 6 + 5 / 12) / (5 / 12), 4);
  });

  test("neighbours that are removed too are solved for together", () => {
    const image = new Float32Array(27);
    image.set([1, 2, 3, 4, 99, 99, 7, 8, 9]);
    new Imputer(3, 3, 0).impute(image, Uint32Array.of(4, 5));
    // x = (2 + 4 + 8 + y)/6 + (1 + 3 + 7 + 9)/12;  (2·5/12 … of the right edge): y·d = (3 + 9 + x)/6 + (2 + 8)/12
    const d = 3 / 6 + 2 / 12;
    const y = ((3 + 9) / 6 + 10 / 12 + (14 / 6 + 20 / 12) / 6) / (d - 1 / 36);
    const x = (14 + y) / 6 + 20 / 12;
    expect(image[5]).toBeCloseTo(y, 3);
    expect(image[4]).toBeCloseTo(x, 3);
  });

  test("with all pixels removed there is nothing to fill from, and nothing breaks", () => {
    const image = new Float32Array(27).fill(5);
    new Imputer(3, 3, 0).impute(
      image,
      Uint32Array.from({ length: 9 }, (_, p) => p),
    );
    expect(image.every(Number.isFinite)).toBe(true);
  });

  test("is what the least relevant leave, less what the most relevant leave, halved", async () => {
    // one bright pixel on a dark image: filled from its neighbours it is dark
    const at = explained(falling);
    at.images.fill(0);
    at.images[0] = 1;
    const [score] = await road(
      at,
      pixelScore(60, () => 0),
    );
    expect(score).toBeCloseTo(0.5, 1);
    const inverted = explained(falling.map((value) => 1 - value));
    inverted.images.set(at.images);
    expect(
      (
        await road(
          inverted,
          pixelScore(60, () => 0),
        )
      )[0],
    ).toBeCloseTo(-score, 5);
  });
});

test("drop and increase compare the image times its map with the image", async () => {
  const images = new Float32Array(24);
  images.set([0.8, 0, 0, 0], 0);
  images.set([-0.5, 0, 0, 0], 12);
  const at: Explained = {
    ...{ images, maps: Float32Array.of(0.25, 0, 0, 0, 0, 1, 1, 1), classes: [0, 0], height: 2, width: 2 },
  };
  const shifted: Score = async (count, draw, classOf) =>
    (await pixelScore(12, () => 0)(count, draw, classOf)).map((value) => value + 0.6);
  const { drop, increase } = await dropAndIncrease(at, shifted);
  expect(drop[0]).toBeCloseTo((1.4 - 0.8) / 1.4, 6);
  expect(drop[1]).toBe(0);
  expect(increase).toEqual([0, 1]);
});

describe("where a map lies", () => {
  const mask = Uint8Array.of(1, 1, 0, 0);

  test("its maximum, its energy, its best overlap with the object", () => {
    expect(localisation(Float32Array.of(0.9, 0.5, 0.6, 0), mask)).toEqual({
      pointing: 1,
      energy: expect.closeTo(0.7, 6),
      iou: 2 / 3,
    });
    expect(localisation(Float32Array.of(0, 0, 1, 1), mask)).toEqual({ pointing: 0, energy: 0, iou: 0.5 });
    expect(localisation(Float32Array.of(1, 1, 0, 0), mask)).toEqual({ pointing: 1, energy: 1, iou: 1 });
    expect(localisation(new Float32Array(4), mask)).toEqual({ pointing: 0, energy: 0, iou: 0 });
  });

  test("rank correlation: ties share their rank, a constant correlates with nothing", () => {
    expect(spearman([1, 2, 3], [10, 20, 90])).toBeCloseTo(1, 12);
    expect(spearman([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12);
    // ranks 0.5 0.5 2 3 against 0 1 2 3: 4.5/√(4.5·5)
    expect(spearman([1, 1, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12);
    expect(spearman([1, 1, 1], [1, 2, 3])).toBe(0);
  });
});

describe("95 % intervals", () => {
  test("over the images of one seed: mean ± t·s/√n", () => {
    // s = 1, n = 3, t(0.975, 2) = 4.302653
    const { mean, low, high } = meanInterval([[1, 2, 3]]);
    expect(mean).toBe(2);
    expect(high! - 2).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
    expect(2 - low!).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
  });

  test("over images and seeds: what differs between seeds counts, however many images there are", () => {
    const many = Array.from({ length: 1000 }, (_, i) => Math.sin(i) / 100);
    const { low, high, mean } = meanInterval([0, 1, 2].map((seed) => many.map((x) => x + seed)));
    expect(mean).toBeCloseTo(1, 2);
    // about t(0.975, 2)·1/√3: the seeds' own interval
    expect((high! - low!) / 2).toBeCloseTo(4.302653 / Math.sqrt(3), 2);
  });

  test("a single value has none", () => expect(meanInterval([[0.3]])).toEqual({ mean: 0.3 }));
});
