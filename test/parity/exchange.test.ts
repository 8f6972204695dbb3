import { describe, expect, test } from "vitest";
import { encodeOnnx } from "../../src/exchange/onnx/write.ts";
import { readCase } from "../../src/parity/case.ts";
import type { Trained } from "../../src/train/trained.ts";
import { difference } from "../support/compare.ts";
import { engines } from "../support/engines.ts";
import { lookAt } from "../support/maps.ts";
import { runOnnx } from "../support/onnx.ts";
import { sharedFolder } from "../support/shared.ts";

/** Cases with maps by pytorch-grad-cam. */
describe.each(["plain", "se", "cbam", "se-study", "timm-se", "timm-cbam"])("%s", (name) => {
  const { path, absence } = sharedFolder(`golden/${name}`);
  if (absence) {
    test.skip(absence, () => {});
    return;
  }
  test("ONNX gives the logits and the map of PyTorch and pytorch-grad-cam, and so do our engines", async () => {
    const at = await readCase(path);
    const { model, image, images, batch, initial, expected } = at;
    const trained: Trained = {
      ...{ model, image, variant: name, seed: 0 },
      classes: Array.from({ length: model.classes }, (_, k) => `${k}`),
      normalization: { mean: [0, 0, 0], std: [1, 1, 1] }, // the case's images are normalised
      weights: new Map([...initial].map(([key, { values }]) => [key, values])),
    };
    const agree = (actual: Float32Array, key: string) => {
      const { values, shape } = expected.get(key)!;
      expect(difference(actual, values, shape, 1e-4), key).toBeUndefined();
    };
    const shape = [batch, 3, ...image];
    const { logits, map } = await runOnnx(encodeOnnx(trained, { map: "layer4" }), {
      image: { shape, values: images },
    });
    agree(logits.values, "eval.logits");
    agree(map.values, "map.gradcam");
    for (const { engine } of engines) {
      const ours = await lookAt(trained, engine, images, "layer4");
      agree(ours.logits, "eval.logits");
      agree(ours.map, "map.gradcam");
      agree(ours.small, "cam.gradcam");
    }
  });
});
