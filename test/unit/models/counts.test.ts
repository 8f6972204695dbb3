import { describe, expect, test } from "vitest";
import { buildModel, summarize } from "../../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../../src/models/options.ts";
import { Variables } from "../../../src/nn/scope.ts";

function summaryOf(options: ModelOptions, image: readonly [number, number] = [32, 32], batch = 1) {
  const variables = new Variables(0);
  return summarize(
    buildModel(resolveModel(options, 10), variables, { batch, image, training: false }),
    variables,
  );
}

describe("parameters of ResNet-50 with 10 classes", () => {
  test.each<[string, ModelOptions, number]>([
    ["plain", {}, 23_520_842],
    ["SE without bias", { attention: "se", attentionOptions: { bias: false } }, 26_035_786],
    ["SE with bias", { attention: "se" }, 26_051_834],
    ["CBAM, official", { attention: "cbam", attentionOptions: { convention: "official" } }, 26_053_434],
  ])("stem of 3×3: %s", (_, options, parameters) => {
    expect(summaryOf(options).parameters).toBe(parameters);
  });

  const study: ModelOptions = { stem: "study", placement: "identity" };
  test.each<[string, ModelOptions, number]>([
    ["plain", study, 23_528_522],
    ["SE", { ...study, attention: "se", attentionOptions: { bias: false } }, 25_347_146],
  ])("the study's %s model", (_, options, parameters) => {
    expect(summaryOf(options)).toMatchObject({ parameters, statistics: 53_120 });
  });
});

describe("multiply-adds of ResNet-50 on 32×32", () => {
  test.each<[string, number]>([
    ["cifar", 1.298],
    ["study", 6.01],
    ["pooled", 0.326],
    ["imagenet", 0.083],
  ])("stem %s", (stem, giga) => {
    expect(summaryOf({ stem }).multiplyAdds / 1e9).toBeCloseTo(giga, String(giga).split(".")[1].length);
  });
});

describe("the listing of layers", () => {
  const { layers, ...whole } = summaryOf({ depths: [1, 1], attention: "se" });
  const named = (name: string) => layers.find((layer) => layer.name === name)!;

  test("gives each layer its shape, parameters, statistics and multiply-adds", () => {
    expect(named("conv1")).toMatchObject({
      shape: [1, 64, 32, 32],
      parameters: 3 * 64 * 9,
      statistics: 0,
      multiplyAdds: 3 * 64 * 9 * 32 * 32,
    });
    expect(named("bn1")).toMatchObject({ parameters: 128, statistics: 128, multiplyAdds: 0 });
    expect(named("layer2.0.conv2")).toMatchObject({
      shape: [1, 128, 16, 16],
      multiplyAdds: 128 * 128 * 9 * 256,
    });
    expect(named("layer1.0.se")).toMatchObject({
      shape: [1, 256, 32, 32],
      parameters: 2 * 256 * 16 + 256 + 16,
      multiplyAdds: 2 * 256 * 16,
    });
    expect(named("fc")).toMatchObject({ shape: [1, 10], parameters: 512 * 10 + 10, multiplyAdds: 512 * 10 });
  });

  test("adds up: the parts of a stage to the stage, the outermost layers to the whole", () => {
    for (const key of ["parameters", "statistics", "multiplyAdds"] as const) {
      const outer = layers.filter(({ name }) => !name.includes("."));
      expect(outer.reduce((sum, layer) => sum + layer[key], 0)).toBe(whole[key]);
      const parts = layers.filter(({ name }) => /^layer2\.0\.(?!se\.)/.test(name) && !/\.se\./.test(name));
      expect(parts.reduce((sum, layer) => sum + layer[key], 0)).toBe(named("layer2")[key]);
    }
  });

  test("does not depend on whether the model is trained", () => {
    const variables = new Variables(0);
    const model = resolveModel({ depths: [1, 1], attention: "se" }, 10);
    const built = buildModel(model, variables, { batch: 1, image: [32, 32], training: true });
    expect(summarize(built, variables)).toEqual({ ...whole, layers });
  });
});
