import { describe, expect, test } from "vitest";
import { editDistance, nearest } from "../../../src/files/nearest.ts";

describe("nearest name", () => {
  test.each([
    ["kitten", "sitting", 3],
    ["", "abc", 3],
    ["abc", "", 3],
    ["flaw", "lawn", 2],
    ["same", "same", 0],
  ])("%s and %s are %d apart", (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  test.each([
    ["cifra10", "cifar10"],
    ["CIFAR10", "cifar10"],
    ["shape", "shapes"],
    ["fodler", "folder"],
    ["imagenet", undefined],
    ["", undefined],
  ])("%s is taken for %s", (name, meant) => {
    expect(nearest(name, ["cifar10", "folder", "shapes"])).toBe(meant);
  });
});
