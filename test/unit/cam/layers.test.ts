import { describe, expect, test } from "vitest";
import { deepestLayer, layersThatWork, mapLayers } from "../../../src/cam/layers.ts";
import type { Architecture } from "../../../src/models/architecture.ts";
import { buildModel } from "../../../src/models/build.ts";
import { layerGraphSchema } from "../../../src/models/layer-graph.ts";
import { resolveModel } from "../../../src/models/options.ts";
import { Variables } from "../../../src/nn/scope.ts";

const builtOf = (model: Architecture) =>
  buildModel(model, new Variables(0), { batch: 1, image: [8, 8], training: false });
const layersOf = (model: Architecture) => mapLayers(builtOf(model));

describe("where maps are taken when nobody says", () => {
  test("at the last stage of a network that has stages", () => {
    const layers = layersOf(
      resolveModel({ name: "resnet14", depths: [1, 1], widths: [4, 4], strides: [1, 2] }, 3),
    );
    expect(deepestLayer(layers)).toBe("layer2");
    expect(layersThatWork(layers)).toBe("layer2 (4×4), layer1 (8×8), bn1 (8×8), conv1 (8×8)");
  });

  // as Keras' layers with an activation of their own, and models inside a model, are called
  test("at the deepest layer of a graph, whatever its names share", () => {
    const conv = { kind: "conv", filters: 4, kernel: [3, 3], stride: [2, 2], padding: "same", bias: true };
    const relu = { kind: "activation", function: "relu" };
    const built = builtOf(
      layerGraphSchema.parse({
        layers: [
          { ...conv, name: "stem", inputs: ["images"] },
          { ...relu, name: "stem.activation", inputs: ["stem"] },
          { ...conv, name: "block.conv", inputs: ["stem.activation"] },
          { ...relu, name: "block.conv.activation", inputs: ["block.conv"] },
          { kind: "globalPool", mode: "average", name: "pool", inputs: ["block.conv.activation"] },
          { kind: "dense", units: 3, bias: true, name: "classes", inputs: ["pool"] },
        ],
        output: "classes",
        classes: 3,
      }),
    );
    const layers = mapLayers(built);
    expect(deepestLayer(layers)).toBe("block.conv");
    expect(layersThatWork(layers)).toBe("block.conv (2×2), stem (4×4)");
    // what Keras calls a layer's output is behind its activation
    for (const name of layers.keys()) {
      if (name === "pool" || name === "classes") continue;
      expect(layers.get(name), name).toBe(built.nn.layers.get(`${name}.activation`));
    }
  });
});
