import { describe, expect, test } from "vitest";
import { type ModelOptions, modelSchema, models, resolveModel, stems } from "../../../src/models/options.ts";
import { UserError } from "../../../src/tensor/errors.ts";

describe("a complete model from what is asked for", () => {
  test("is ResNet-50 for small images by default", () => {
    expect(resolveModel({}, 10)).toEqual({
      block: "bottleneck",
      stem: { channels: 64, kernel: 3, stride: 1, pool: false },
      depths: [3, 4, 6, 3],
      widths: [64, 128, 256, 512],
      strides: [1, 2, 2, 2],
      expansion: 4,
      attention: { name: "none", options: {} },
      placement: "all",
      batchNorm: { eps: 1e-5, momentum: 0.1 },
      initialization: "torch",
      classes: 10,
    });
  });

  test("takes the stem's strides, and widths that double, for other depths", () => {
    expect(resolveModel({ depths: [1, 1, 2], stem: "study" }, 3)).toMatchObject({
      widths: [64, 128, 256],
      strides: [1, 1, 1],
    });
    expect(resolveModel({ name: "resnet18", depths: [1, 1, 1, 1, 1] }, 3)).toMatchObject({
      block: "basic",
      expansion: 1,
      widths: [64, 128, 256, 512, 1024],
      strides: [1, 2, 2, 2, 2],
    });
  });

  test("fills in the defaults of an attention module", () => {
    expect(resolveModel({ attention: "se", attentionOptions: { bias: false } }, 3).attention).toEqual({
      name: "se",
      options: { reduction: 16, bias: false, rounding: "down" },
    });
  });

  test("has Keras' constants of batch norm by name, and any by value", () => {
    expect(resolveModel({ batchNorm: "keras" }, 3).batchNorm).toEqual({ eps: 1e-3, momentum: 0.01 });
    const batchNorm = { eps: 1e-4, momentum: 0.2 };
    expect(resolveModel({ batchNorm }, 3).batchNorm).toEqual(batchNorm);
  });

  test("exists for each name and each stem", () => {
    for (const name of Object.keys(models)) {
      for (const stem of Object.keys(stems)) expect(resolveModel({ name, stem }, 2).stem.channels).toBe(64);
    }
  });
});

describe("what is not there is refused with the nearest that is", () => {
  test.each<[ModelOptions, RegExp]>([
    [
      { name: "resnet51" },
      /^unknown model "resnet51": did you mean resnet50\? There are resnet14, .*resnet101$/,
    ],
    [{ name: "toString" }, /^unknown model "toString"/],
    [{ stem: "cifer" }, /^unknown stem "cifer": did you mean cifar\?/],
    [{ attention: "cban" }, /^unknown attention "cban": did you mean cbam\? There are none, cbam, eca, se$/],
    [
      { attention: "se", attentionOptions: { reductoin: 8 } },
      /^unknown option of attention se "reductoin": did you mean reduction\?/,
    ],
    [
      { attention: "eca", attentionOptions: { bias: true } },
      /^attention eca has no options, "bias" was given$/,
    ],
    [{ attention: "se", attentionOptions: { bias: 1 } }, /^attention se: bias must be a boolean, is 1$/],
    [
      { attention: "se", attentionOptions: { reduction: 0 } },
      /^attention se: reduction must be a whole number above 0, is 0$/,
    ],
    [
      { attention: "se", attentionOptions: { reduction: 2.5 } },
      /^attention se: reduction must be a whole number above 0, is 2\.5$/,
    ],
    [
      { attention: "cbam", attentionOptions: { convention: "oficial" } },
      /^unknown convention of attention cbam "oficial": did you mean official\?/,
    ],
    [{ depths: [1, 1], widths: [8] }, /^model resnet50: 2 depths \[1,1\] need as many widths, has \[8\]$/],
    [{ depths: [1, 1], strides: [1, 2, 2] }, /2 depths \[1,1\] need as many strides, has \[1,2,2\]$/],
  ])("%j", (options, says) => {
    let error: unknown;
    try {
      resolveModel(options, 10);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(says);
  });
});

test.each([
  { depths: [] },
  { depths: [0] },
  { widths: [1.5] },
  { expansion: -1 },
  { placement: "some" },
  { depth: [1] },
])("the schema refuses %j", (options) => {
  expect(modelSchema.safeParse(options).success).toBe(false);
});
