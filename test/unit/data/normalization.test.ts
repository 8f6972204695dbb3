import { describe, expect, test } from "vitest";
import type { Dataset } from "../../../src/data/dataset.ts";
import { measureNormalization } from "../../../src/data/normalization.ts";
import { allocateSplit } from "../../../src/data/split.ts";

function datasetOf(pixels: number[]): Dataset {
  const train = allocateSplit(pixels.length / 6, 1, 2);
  train.images.set(pixels);
  return {
    name: "",
    classes: ["a"],
    height: 1,
    width: 2,
    train,
    test: allocateSplit(0, 1, 2),
    fingerprint: "",
  };
}

// Two images of two pixels, and a third that is not asked for.
const dataset = datasetOf([0, 10, 255, 51, 10, 0, 102, 20, 255, 51, 20, 0, 9, 9, 9, 9, 9, 9]);
const indices = Uint32Array.of(0, 1);

describe("measureNormalization", () => {
  test("a channel at a time", () => {
    const { mean, std } = measureNormalization(dataset, indices, "channel");
    // Red 0 51 102 51: mean 51, variance (51² + 0 + 51² + 0)/4. Green 10 10 20 20. Blue 255 0 255 0.
    expect(mean[0]).toBeCloseTo(0.2, 14);
    expect(mean[1]).toBeCloseTo(15 / 255, 14);
    expect(mean[2]).toBeCloseTo(0.5, 14);
    expect(std[0]).toBeCloseTo(Math.sqrt((2 * 51 * 51) / 4) / 255, 14);
    expect(std[1]).toBeCloseTo(5 / 255, 14);
    expect(std[2]).toBeCloseTo(0.5, 14);
  });

  test("one mean and one deviation over everything", () => {
    const { mean, std } = measureNormalization(dataset, indices, "scalar");
    // Sum 204 + 60 + 510 = 774 over 12 values: 64.5. Squares: 15606 + 1000 + 130050 = 146656.
    expect(mean).toEqual([64.5 / 255, 64.5 / 255, 64.5 / 255]);
    expect(std[0]).toBeCloseTo(Math.sqrt(146656 / 12 - 64.5 ** 2) / 255, 14);
    expect(std[1]).toBe(std[0]);
    expect(std[2]).toBe(std[0]);
  });

  test("does not divide by nothing", () => {
    const { mean, std } = measureNormalization(datasetOf([7, 7, 7, 7, 7, 7]), Uint32Array.of(0), "channel");
    expect(mean[0]).toBeCloseTo(7 / 255, 14);
    expect(std).toEqual([1, 1, 1]);
    expect(() => measureNormalization(dataset, new Uint32Array(0), "scalar")).toThrow("no training images");
  });
});
