import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { buildModel } from "../../../src/models/build.ts";
import { type ModelOptions, resolveModel } from "../../../src/models/options.ts";
import { Variables } from "../../../src/nn/scope.ts";
import { showShape, sizeOf } from "../../../src/tensor/tensor.ts";

const timm = { rounding: "timm" };

/**
 * Tensors, parameters, and SHA-256 (first 16 digits) of the sorted lines `name [shape]` of the state_dict, without
 * num_batches_tracked, 1000 classes: torchvision 0.30's models, and timm 1.0.31's ResNet with attn_layer.
 */
const states: readonly (readonly [string, ModelOptions, number, number, string])[] = [
  ["torchvision resnet18", { name: "resnet18" }, 102, 11689512, "7896e797ba4d3328"],
  ["torchvision resnet34", { name: "resnet34" }, 182, 21797672, "856ab8b01c1ecd19"],
  ["torchvision resnet50", { name: "resnet50" }, 267, 25557032, "834b317fd284739e"],
  ["torchvision resnet101", { name: "resnet101" }, 522, 44549160, "ca4cae7dcdbebe8b"],
  ["timm resnet14", { name: "resnet14" }, 87, 10064936, "fb2a96d045844d52"],
  ["timm resnet26", { name: "resnet26" }, 147, 15995176, "91846296d256d2bb"],
  ["timm resnet50 se", { name: "resnet50", attention: "se" }, 331, 28088024, "34dde2a27e23f785"],
  [
    "timm resnet18 se",
    { name: "resnet18", attention: "se", attentionOptions: timm },
    134,
    11779624,
    "fc33b327110bf085",
  ],
  ["timm resnet50 cbam", { name: "resnet50", attention: "cbam" }, 379, 28073576, "6e2593c0d4ee1f90"],
  ["timm resnet18 cbam", { name: "resnet18", attention: "cbam" }, 158, 11777352, "5a39be8d49d4527b"],
  ["timm resnet50 eca", { name: "resnet50", attention: "eca" }, 283, 25557118, "551805605978c8d8"],
  ["timm resnet18 eca", { name: "resnet18", attention: "eca" }, 110, 11689548, "0c9d39100cf4a159"],
];

describe("names and shapes are those of the field's state_dicts", () => {
  test.each(states)("%s", (_, options, tensors, parameters, digest) => {
    const variables = new Variables(0);
    const model = resolveModel({ stem: "imagenet", ...options }, 1000);
    buildModel(model, variables, { batch: 1, image: [64, 64], training: true });
    const lines = variables.all().map(({ name, shape }) => `${name} ${showShape(shape)}`);
    expect(lines).toHaveLength(tensors);
    const count = variables.tensors("parameter").reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    expect(count).toBe(parameters);
    expect(createHash("sha256").update(lines.sort().join("\n")).digest("hex").slice(0, 16)).toBe(digest);
  });
});
