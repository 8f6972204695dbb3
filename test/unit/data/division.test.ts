import { describe, expect, test } from "vitest";
import { divide } from "../../../src/data/division.ts";
import { allocateSplit } from "../../../src/data/split.ts";

function splitOf(labels: number[]) {
  const split = allocateSplit(labels.length, 1, 1);
  split.labels.set(labels);
  return split;
}

const classes = ["a", "b", "c"];

describe("divide", () => {
  test("takes the same share of every class", () => {
    // 6 of a, 3 of b, 3 of c; 4 of 12 are 2, 1 and 1.
    const split = splitOf([0, 0, 1, 2, 0, 0, 1, 2, 0, 0, 1, 2]);
    const { train, validation } = divide(split, classes, 4, 1);
    expect([...validation].map((i) => split.labels[i]).sort()).toEqual([0, 0, 1, 2]);
    expect([...train, ...validation].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect([...train]).toEqual([...train].sort((a, b) => a - b));
  });

  test("gives what division leaves over to the largest remainders", () => {
    // 5, 3 and 2 images, 4 to take: 2.0, 1.2 and 0.8.
    const split = splitOf([0, 0, 0, 0, 0, 1, 1, 1, 2, 2]);
    const { validation } = divide(split, classes, 4, 1);
    expect([...validation].map((i) => split.labels[i])).toEqual([0, 0, 1, 2]);
  });

  test("depends on the seed alone", () => {
    const split = splitOf(Array.from({ length: 300 }, (_, i) => i % 3));
    const picked = (seed: number) => [...divide(split, classes, 30, seed).validation];
    expect(picked(5)).toEqual(picked(5));
    expect(picked(5)).not.toEqual(picked(6));
  });

  test("nothing set aside", () => {
    const { train, validation } = divide(splitOf([0, 1, 2]), classes, 0, 1);
    expect([...train]).toEqual([0, 1, 2]);
    expect(validation).toHaveLength(0);
  });

  test.each([
    [[0, 1, 2], 3, "validation: 3 images asked for, but there are 3 training images: ask for fewer"],
    [[0, 0, 1, 1, 2, 2], 2, "validation: 2 images cannot hold 3 classes: ask for 0 or at least 3"],
    [
      [0, 0, 0, 1, 1, 2],
      5,
      "validation: class b has 2 images, and 2 of them would go to validation: ask for fewer than 5, or add images",
    ],
    [[0, 1, 2], 1.5, "validation: expected a whole number of images, got 1.5"],
    [[0, 1, 2], -1, "validation: expected a whole number of images, got -1"],
  ])("%j cannot give %d", (labels, validation, message) => {
    expect(() => divide(splitOf(labels), classes, validation, 1)).toThrow(message);
  });
});
