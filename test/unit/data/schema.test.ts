import { homedir } from "node:os";
import { describe, expect, test } from "vitest";
import { loadDataset } from "../../../src/data/load.ts";
import { sourceFromText } from "../../../src/data/registry.ts";
import { augmentationSchema, dataSchema, dataSourceSchema } from "../../../src/data/schema.ts";
import { cacheFolder, userPath } from "../../../src/data/source.ts";
import { UserError } from "../../../src/tensor/errors.ts";

describe("sources on the command line", () => {
  test.each([
    ["cifar10", { source: "cifar10" }],
    ["cifar10:/data/cifar", { source: "cifar10", path: "/data/cifar" }],
    ["shapes", { source: "shapes" }],
    ["folder:images.tar.gz", { source: "folder", path: "images.tar.gz" }],
    ["folder:C:/images", { source: "folder", path: "C:/images" }],
  ])("%s", (text, source) => {
    expect(sourceFromText(text)).toEqual(source);
  });

  test.each([
    ["cifra10", 'unknown data source "cifra10": did you mean cifar10?'],
    ["shape", "did you mean shapes?"],
    ["./images", 'unknown data source "./images": did you mean folder:./images?'],
    ["imagenet", "there are cifar10 or cifar10:PATH, folder:PATH, shapes"],
    ["constructor", "unknown data source"],
    ["folder", "folder: expected a path behind it"],
    ["folder:", "folder: expected a path behind it"],
    ["shapes:64", 'shapes: takes nothing behind it, got "64"'],
  ])("%s is refused", (text, message) => {
    expect(() => sourceFromText(text)).toThrow(UserError);
    expect(() => sourceFromText(text)).toThrow(message);
  });

  test("from JavaScript too", async () => {
    // @ts-expect-error no such source
    await expect(loadDataset({ source: "mnist" })).rejects.toThrow('unknown data source "mnist"');
  });
});

describe("data in a study file", () => {
  const messages = (value: unknown) =>
    dataSchema.safeParse(value).error?.issues.map((issue) => issue.message) ?? [];

  test("is read with its defaults", () => {
    expect(dataSchema.parse({ source: "folder", path: "x", validation: 200 })).toEqual({
      source: "folder",
      path: "x",
      validation: 200,
      normalize: "channel",
    });
    expect(dataSchema.parse({ source: "shapes", size: 48, normalize: "scalar" })).toEqual({
      source: "shapes",
      size: 48,
      normalize: "scalar",
    });
    expect(dataSchema.parse({ source: "shapes", validation: "test" })).toMatchObject({ validation: "test" });
    expect(dataSourceSchema.parse({ source: "folder", path: "x", size: [32, 48], test: 0.3 })).toMatchObject({
      size: [32, 48],
    });
  });

  test("is refused with the reason", () => {
    expect(messages({ source: "cifra10" })).toEqual(['unknown data source "cifra10": did you mean cifar10?']);
    expect(messages({})).toEqual(["expected a data source, such as { source: shapes }"]);
    expect(messages("cifar10")).toEqual(["expected a data source, such as { source: shapes }"]);
    expect(messages({ source: "folder" })).toHaveLength(1);
    expect(messages({ source: "cifar10", validation: -1 })).toHaveLength(1);
    expect(messages({ source: "cifar10", validation: "tset" })).toHaveLength(1);
    expect(messages({ source: "cifar10", validaton: 5 })[0]).toContain("validaton");
    expect(messages({ source: "cifar10", normalize: "none" })).toHaveLength(1);
    expect(messages({ source: "folder", path: "x", test: 1.5 })).toHaveLength(1);
  });
});

describe("augmentation in a study file", () => {
  test.each([
    [["crop", "flip"], { crop: { padding: 4 }, flip: true }],
    [[{ crop: { padding: 2 } }, { cutout: { size: 16 } }], { crop: { padding: 2 }, cutout: { size: 16 } }],
    [["cutout", { flip: true }], { cutout: { size: 8 }, flip: true }],
    [[], {}],
    [
      { crop: { padding: 4 }, flip: true },
      { crop: { padding: 4 }, flip: true },
    ],
  ])("%j", (list, augmentation) => {
    expect(augmentationSchema.parse(list)).toEqual(augmentation);
  });

  test.each([
    [["crpo"], 'unknown augmentation "crpo": did you mean crop?'],
    [["mixup"], 'unknown augmentation "mixup": there are crop, flip, cutout'],
    [["flip", "flip"], "flip comes twice"],
    [[{ crop: { pad: 4 } }], "pad"],
    [[{ crop: { padding: 0 } }], "1"],
    ["crop", "expected object"],
  ])("%j is refused", (list, message) => {
    const issues = augmentationSchema.safeParse(list).error?.issues ?? [];
    expect(issues).toHaveLength(1);
    expect(issues[0].message).toContain(message);
  });
});

test("where things lie", () => {
  expect(userPath("~/images")).toBe(`${homedir()}/images`);
  expect(userPath("a/~/b")).toBe("a/~/b");
  expect(cacheFolder({ cache: "/c" })).toBe("/c");
});
