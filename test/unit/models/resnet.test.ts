import { describe, expect, test } from "vitest";
import { buildModel } from "../../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../../src/models/options.ts";
import { Variables } from "../../../src/nn/scope.ts";
import { ShapeError } from "../../../src/tensor/errors.ts";
import { sizeOf } from "../../../src/tensor/tensor.ts";

const build = (
  options: ModelOptions,
  variables = new Variables(1),
  image: readonly [number, number] = [32, 32],
) => buildModel(resolveModel(options, 10), variables, { batch: 2, image, training: true });

describe("shapes", () => {
  test.each<[string, ModelOptions, Record<string, number[]>]>([
    ["cifar", {}, { conv1: [2, 64, 32, 32], layer1: [2, 256, 32, 32], layer4: [2, 2048, 4, 4] }],
    [
      "study",
      { stem: "study" },
      { conv1: [2, 64, 32, 32], maxpool: [2, 64, 16, 16], layer4: [2, 2048, 16, 16] },
    ],
    [
      "imagenet",
      { stem: "imagenet" },
      { conv1: [2, 64, 16, 16], maxpool: [2, 64, 8, 8], layer4: [2, 2048, 1, 1] },
    ],
    ["basic blocks", { name: "resnet18" }, { layer1: [2, 64, 32, 32], layer4: [2, 512, 4, 4] }],
  ])("%s", (_, options, shapes) => {
    const { nn, logits } = build(options);
    for (const [name, shape] of Object.entries(shapes)) expect(nn.layers.get(name)?.shape).toEqual(shape);
    expect(logits.shape).toEqual([2, 10]);
    expect(logits.label).toBe("fc");
  });

  test("images that are not square", () => {
    const { nn } = build({ stem: "imagenet" }, new Variables(1), [75, 42]);
    expect(nn.layers.get("layer4")?.shape).toEqual([2, 2048, 3, 2]);
  });
});

describe("attention", () => {
  const placed = (options: ModelOptions) => {
    const { nn } = build({ depths: [2, 2], ...options });
    return [...nn.layers.keys()].filter((name) => name.endsWith(".se"));
  };
  test("sits in every block, or in those whose shortcut is the identity", () => {
    expect(placed({ attention: "se" })).toEqual(["layer1.0.se", "layer1.1.se", "layer2.0.se", "layer2.1.se"]);
    expect(placed({ attention: "cbam", placement: "identity" })).toEqual(["layer1.1.se", "layer2.1.se"]);
    expect(placed({ name: "resnet18", attention: "eca", placement: "identity" })).toEqual([
      "layer1.0.se",
      "layer1.1.se",
      "layer2.1.se",
    ]);
    expect(placed({})).toEqual([]);
  });
});

describe("initial weights", () => {
  const values = (seed: number, options: ModelOptions) => {
    const variables = new Variables(seed);
    build({ depths: [1, 1], ...options }, variables);
    return new Map(
      variables.all().map(({ name, shape, initialize }) => {
        const start = new Float32Array(sizeOf(shape));
        initialize(start);
        return [name, start];
      }),
    );
  };

  test("are equal for every variant of a seed where they are shared, and other for another seed", () => {
    const [plain, se, other] = [values(1, {}), values(1, { attention: "se" }), values(2, {})];
    for (const [name, start] of plain) expect(se.get(name)).toEqual(start);
    expect(se.size).toBeGreaterThan(plain.size);
    expect(other.get("conv1.weight")).not.toEqual(plain.get("conv1.weight"));
    expect(plain.get("layer1.0.conv1.weight")).not.toEqual(plain.get("layer1.0.conv3.weight"));
  });

  test("are torchvision's: normal by fan-out, uniform for the dense layer, batch norm 1 and 0", () => {
    const all = values(3, {});
    const deviation = (name: string) => {
      const start = all.get(name)!;
      return Math.sqrt(start.reduce((sum, v) => sum + v * v, 0) / start.length);
    };
    expect(deviation("layer2.0.conv2.weight")).toBeCloseTo(Math.sqrt(2 / (128 * 9)), 3);
    expect(deviation("fc.weight")).toBeCloseTo(1 / Math.sqrt(3 * 512), 3);
    expect(Math.max(...all.get("fc.weight")!)).toBeLessThan(1 / Math.sqrt(512));
    for (const [suffix, value] of [
      ["weight", 1],
      ["bias", 0],
      ["running_mean", 0],
      ["running_var", 1],
    ] as const) {
      expect(new Set(all.get(`layer1.0.bn2.${suffix}`))).toEqual(new Set([value]));
    }
  });

  test("of the official CBAM switch the spatial gate's batch norm off", () => {
    const all = values(1, { attention: "cbam", attentionOptions: { convention: "official" } });
    expect([...all.get("layer1.0.se.spatial.conv.bn.weight")!]).toEqual([0]);
  });
});

describe("errors name the layer", () => {
  test("one set of variables serves one architecture", () => {
    const variables = new Variables(1);
    build({ depths: [1, 1] }, variables);
    expect(() => build({ depths: [1, 1], widths: [32, 128] }, variables)).toThrow(
      new ShapeError("variable", "has shape [64,64,1,1], asked for as [32,64,1,1]", "layer1.0.conv1.weight"),
    );
  });
});
