import { expect, it } from "vitest";
import { referenceEngine } from "../../../src/engine/reference.ts";
import { resolveModel } from "../../../src/models/options.ts";
import { measurePace } from "../../../src/study/measure.ts";
import { expectedMs } from "../../../src/study/plan.ts";
import { trainSchema } from "../../../src/train/options.ts";

const tiny = resolveModel({ name: "resnet14", depths: [1], widths: [2], expansion: 2 }, 3);

it("a pace is measured by real steps of the batch asked for", async () => {
  const train = trainSchema.parse({ batch: 6, optimizer: "adam" });
  const { batch, trainMsPerImage, evaluateMsPerImage } = await measurePace(
    referenceEngine,
    tiny,
    train,
    [8, 8],
  );
  expect(batch).toBe(6);
  expect(trainMsPerImage).toBeGreaterThan(0);
  expect(evaluateMsPerImage).toBeGreaterThan(0);
});

it("the expected time counts every epoch's training and judging, and the test", () => {
  const plan = {
    variant: "v",
    model: tiny,
    train: trainSchema.parse({ epochs: 3 }),
    parameters: 1,
    statistics: 1,
    multiplyAdds: 1,
    stepsPerEpoch: 1,
    trainImages: 100,
    validationImages: 10,
    testImages: 20,
  };
  // 3·(100·2 + 10·1) + 20·1
  expect(expectedMs(plan, { trainMsPerImage: 2, evaluateMsPerImage: 1, batch: 4 })).toBe(650);
});
