import { describe, expect, it } from "vitest";
import { YamlError, YamlFile } from "../../../src/study/yaml.ts";

const TEXT = `name: x # a comment
train:
  epochs: 3
  optimizer: { name: sgd, lr: 0.1 }
seeds:
  - 1
  -   2
base: &base { batch: 8 }
copy: *base
empty:
`;

function placeOf(path: (string | number)[], key = false): string {
  const { problems } = new YamlFile("f.yaml", TEXT).error([{ path, message: "m", key }]);
  return `${problems[0].line}:${problems[0].column}`;
}

describe("YamlFile", () => {
  it.each([
    [["name"], "1:7"],
    [["train", "epochs"], "3:11"],
    [["train", "optimizer", "lr"], "4:31"],
    [["seeds", 1], "7:7"],
    [["base", "batch"], "8:22"],
    [["copy", "batch"], "8:22"],
    [["empty"], "10:7"],
  ])("finds the value at %j", (path, place) => {
    expect(placeOf(path)).toBe(place);
  });

  it("points at the key when the key itself is wrong", () => {
    expect(placeOf(["train", "optimizer", "lr"], true)).toBe("4:27");
    expect(placeOf(["train"], true)).toBe("2:1");
  });

  it("points at the key that holds it when something is missing", () => {
    expect(placeOf(["train", "optimizer", "momentum"])).toBe("4:3");
    expect(placeOf(["data"])).toBe("1:1");
  });

  it("tells problems in the order of the file, a line each", () => {
    const error = new YamlFile("f.yaml", TEXT).error([
      { path: ["seeds", 0], message: "late" },
      { path: ["name"], message: "early" },
    ]);
    expect(error.message).toBe("f.yaml:1:7: early\nf.yaml:6:5: late");
    expect(error).toBeInstanceOf(YamlError);
  });

  it("tells where the text is no YAML", () => {
    expect(() => new YamlFile("f.yaml", "a: [1, 2\nb: 3\n")).toThrow(/^f\.yaml:2:1: /);
    expect(() => new YamlFile("f.yaml", "a: 1\nb: 2\na: 3\n")).toThrow("f.yaml:3:1: Map keys must be unique");
  });

  it("knows which paths are there", () => {
    const file = new YamlFile("f.yaml", TEXT);
    expect(file.has(["train", "optimizer"])).toBe(true);
    expect(file.has(["train", "optimiser"])).toBe(false);
    expect(file.has(["copy", "batch"])).toBe(true);
  });
});
