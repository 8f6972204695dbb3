import { describe, expect, it } from "vitest";
import { createOptimizer } from "../../../src/train/optimizers.ts";
import { trainSchema, warmupSteps } from "../../../src/train/options.ts";
import { spansEpochs } from "../../../src/train/schedules.ts";

const issuesOf = (value: unknown) => trainSchema.safeParse(value).error?.issues ?? [];

describe("trainSchema", () => {
  it("fills in every default", () => {
    expect(trainSchema.parse({})).toEqual({
      epochs: 30,
      batch: 128,
      optimizer: { name: "sgd", lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4 },
      schedule: { name: "cosine", min: 0 },
      warmup: 0,
      labelSmoothing: 0,
      augment: {},
    });
  });

  it("takes every optimiser and schedule by its name alone", () => {
    for (const name of ["sgd", "adam", "adamw"]) {
      expect(trainSchema.parse({ optimizer: name }).optimizer).toEqual(
        createOptimizer(name as "sgd").options,
      );
    }
    for (const name of ["constant", "step", "cosine", "one-cycle", "plateau", "inverse-time"]) {
      expect(trainSchema.parse({ schedule: name }).schedule).toEqual(
        trainSchema.parse({ schedule: { name } }).schedule,
      );
    }
  });

  it("takes early stopping by what differs from its defaults", () => {
    expect(trainSchema.parse({ earlyStopping: { patience: 3 } }).earlyStopping).toEqual({
      patience: 3,
      minDelta: 0,
      restoreBest: true,
    });
  });

  it.each([
    ["a warm-up as long as the training", { epochs: 3, warmup: 3 }, ["warmup"], /shorter than the 3 epochs/],
    ["a warm-up before one-cycle", { schedule: "one-cycle", warmup: 1 }, ["warmup"], /of its own/],
    ["a least rate above the first", { schedule: { name: "cosine", min: 1 } }, ["schedule", "min"], /lr 0.1/],
    [
      "two ways of counting steps",
      { schedule: { name: "step", every: 2, milestones: [3] } },
      ["schedule"],
      /every or milestones, not both/,
    ],
  ])("refuses %s, at its place", (_, value, path, message) => {
    expect(issuesOf(value)).toEqual([
      expect.objectContaining({ path, message: expect.stringMatching(message) }),
    ]);
  });

  it.each([
    ["schedule", "cosin"],
    ["optimizer", { name: "addam" }],
    ["earlyStopping", { monitor: "validationLos" }],
    ["epochs", 0],
    ["labelSmoothing", 1],
    ["epoch", 3],
  ])("refuses %s: %j", (key, value) => {
    expect(issuesOf({ [key]: value })).toHaveLength(1);
  });
});

it("counts a warm-up in epochs or steps", () => {
  expect(warmupSteps(0, 10)).toBe(0);
  expect(warmupSteps(1.5, 10)).toBe(15);
  expect(warmupSteps({ epochs: 2 }, 7)).toBe(14);
  expect(warmupSteps({ steps: 5 }, 7)).toBe(5);
});

it("knows which schedules depend on the number of epochs", () => {
  const spans = (schedule: unknown) => spansEpochs(trainSchema.parse({ schedule }).schedule);
  const names = ["constant", "step", "cosine", "one-cycle", "plateau", "inverse-time"];
  expect(names.filter(spans)).toEqual(["step", "cosine", "one-cycle"]);
  expect(
    [
      { name: "step", every: 2 },
      { name: "step", milestones: [1] },
    ].filter(spans),
  ).toEqual([]);
});
