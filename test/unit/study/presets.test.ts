import { describe, expect, it } from "vitest";
import { knownOutline } from "../../../src/study/outline.ts";
import { planStudy } from "../../../src/study/plan.ts";
import { loadStudy, presetNames } from "../../../src/study/presets.ts";

const CIFAR10 = knownOutline({ source: "cifar10" })!;

describe("presets", () => {
  it("are all valid and called as their files", async () => {
    expect(presetNames()).toEqual(["cifar10", "original", "quick"]);
    for (const name of presetNames()) expect((await loadStudy(name)).name).toBe(name);
  });

  it("have the original study's four variants", async () => {
    for (const name of presetNames()) {
      const { variants } = await loadStudy(name);
      expect(variants.map((variant) => variant.name)).toEqual(["plain", "se", "cbam", "se-adam"]);
    }
  });

  it("are looked for by name with the nearest one, and files by path", async () => {
    await expect(loadStudy("orignal")).rejects.toThrow(
      'unknown study "orignal": did you mean original? There are cifar10, original, quick',
    );
    await expect(loadStudy("none/such.yaml")).rejects.toThrow("none/such.yaml: no such study file");
    await expect(loadStudy("such.yml")).rejects.toThrow("such.yml: no such study file");
    await expect(loadStudy("./src/")).rejects.toThrow("cannot be read");
  });
});

describe("preset original", () => {
  // study.md, "The architecture they ran": trainable + moving statistics
  it.each([
    ["plain", 23_528_522, 23_581_642],
    ["se", 25_347_146, 25_400_266],
    ["se-adam", 25_347_146, 25_400_266],
  ])("has the study's count of parameters: %s", async (name, trainable, total) => {
    const plan = planStudy(await loadStudy("original"), CIFAR10).find(({ variant }) => variant === name)!;
    expect(plan.parameters).toBe(trainable);
    expect(plan.parameters + plan.statistics).toBe(total);
  });

  it("costs what the study's model cost", async () => {
    const [plain] = planStudy(await loadStudy("original"), CIFAR10);
    expect(plain.multiplyAdds / 1e9).toBeCloseTo(6.01, 2);
  });

  it("trains as the study did", async () => {
    const study = await loadStudy("original");
    const plans = planStudy(study, CIFAR10);
    expect(study.data).toMatchObject({ validation: "test", normalize: "scalar" });
    expect(plans[0]).toMatchObject({ trainImages: 50_000, validationImages: 10_000, testImages: 10_000 });
    for (const { train, model } of plans) {
      expect(train).toMatchObject({
        epochs: 40,
        schedule: { name: "constant" },
        augment: {},
        labelSmoothing: 0,
      });
      expect(train.optimizer).toMatchObject({ name: "adam", lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-7 });
      expect(train.optimizer).toMatchObject({ convention: "keras", weightDecay: 0 });
      expect(model.batchNorm).toEqual({ eps: 1e-3, momentum: 0.01 });
      expect(model.placement).toBe("identity");
    }
    expect(plans.map(({ train }) => train.batch)).toEqual([64, 64, 64, 256]);
    expect(plans.map(({ train }) => "decay" in train.optimizer && train.optimizer.decay)).toEqual([
      0, 0, 0, 1e-6,
    ]);
    expect(plans.map(({ stepsPerEpoch }) => stepsPerEpoch)).toEqual([782, 782, 782, 196]);
    expect(plans[1].model.attention).toMatchObject({ name: "se", options: { reduction: 16, bias: false } });
  });
});

describe("preset cifar10", () => {
  // study.md, "Parameters, 10 classes, 3×3 stem": without running statistics
  it("has the counts of ResNet-50 with the small stem", async () => {
    const plans = planStudy(await loadStudy("cifar10"), CIFAR10);
    const counts = Object.fromEntries(plans.map(({ variant, parameters }) => [variant, parameters]));
    expect(counts).toMatchObject({ plain: 23_520_842, se: 26_051_834 });
    expect(plans[0]).toMatchObject({ trainImages: 45_000, validationImages: 5000 });
  });
});
