import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Monitor } from "../../../src/train/monitor.ts";
import {
  learningRate,
  type PlateauState,
  plateauAfter,
  plateauStart,
  type Schedule,
  scheduleSchema,
} from "../../../src/train/schedules.ts";

interface Plan {
  readonly lr?: number;
  readonly stepsPerEpoch: number;
  readonly epochs: number;
  readonly warmup?: number;
}

/** Rates of every step of a training. */
function rates(asked: unknown, { lr = 0.1, warmup, ...plan }: Plan): number[] {
  const schedule = scheduleSchema.parse(asked);
  return Array.from({ length: plan.stepsPerEpoch * plan.epochs }, (_, step) =>
    learningRate(schedule, lr, { step, ...plan }, warmup),
  );
}

function expectRates(actual: number[], expected: number[]): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((rate, step) => {
    expect(Math.abs(rate / expected[step] - 1), `step ${step}: ${rate}`).toBeLessThan(1e-10);
  });
}

// literals: PyTorch 2.15
describe("rates equal PyTorch's", () => {
  it("warm-up: LambdaLR min(1, (t + 1)/4)", () => {
    const actual = rates("constant", { stepsPerEpoch: 3, epochs: 2, warmup: 4 });
    expectRates(actual, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]);
  });

  it("step: StepLR(2, 0.5)", () => {
    const actual = rates({ name: "step", every: 2, gamma: 0.5 }, { stepsPerEpoch: 2, epochs: 5 });
    expectRates(actual, [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025]);
  });

  it("step: MultiStepLR([1, 3])", () => {
    const actual = rates({ name: "step", milestones: [1, 3] }, { stepsPerEpoch: 2, epochs: 5 });
    expectRates(actual, [0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001]);
  });

  it("cosine: CosineAnnealingLR(6, 0.01)", () => {
    const actual = rates({ name: "cosine", min: 0.01 }, { stepsPerEpoch: 2, epochs: 3 });
    expectRates(actual, [0.1, 0.0939711431703, 0.0775, 0.055, 0.0325, 0.0160288568297]);
  });

  it("cosine after a warm-up: SequentialLR of LambdaLR and CosineAnnealingLR(4)", () => {
    const actual = rates("cosine", { stepsPerEpoch: 2, epochs: 3, warmup: 2 });
    expectRates(actual, [0.05, 0.1, 0.1, 0.0853553390593, 0.05, 0.0146446609407]);
  });

  it("one-cycle: OneCycleLR(0.1, total_steps=8)", () => {
    const expected = [
      0.004, 0.0819275104892, 0.0971941777388, 0.081174565395, 0.0555984014123, 0.0283060998209,
      0.00766415938343, 4e-7,
    ];
    expectRates(rates("one-cycle", { stepsPerEpoch: 4, epochs: 2 }), expected);
  });

  it("one-cycle: OneCycleLR(0.2, pct_start=0.5, div_factor=10, final_div_factor=100)", () => {
    const expected = [
      0.02, 0.0463603896932, 0.11, 0.173639610307, 0.2, 0.180920797738, 0.130970797738, 0.0692292022619,
      0.0192792022619, 0.0002,
    ];
    const asked = { name: "one-cycle", pctStart: 0.5, divFactor: 10, finalDivFactor: 100 };
    expectRates(rates(asked, { lr: 0.2, stepsPerEpoch: 5, epochs: 2 }), expected);
  });
});

it("step without epochs reduces at half and three quarters of them", () => {
  expectRates(rates("step", { stepsPerEpoch: 1, epochs: 8 }), [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
});

it("inverse-time is lr/(1 + decay·t), as Keras' InverseTimeDecay and its old decay", () => {
  expectRates(
    rates({ name: "inverse-time", decay: 0.5 }, { stepsPerEpoch: 5, epochs: 1 }),
    [0.1, 0.0666666666667, 0.05, 0.04, 0.0333333333333],
  );
});

it("a rate is above 0 and never above the optimiser's, whatever the plan", () => {
  const names = ["constant", "step", "cosine", "one-cycle", "plateau", "inverse-time"];
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(12),
      (name, stepsPerEpoch, epochs, warmup) => {
        for (const rate of rates(name, { stepsPerEpoch, epochs, warmup })) {
          expect(rate).toBeGreaterThan(0);
          expect(rate).toBeLessThanOrEqual(0.1);
        }
      },
    ),
  );
});

describe("plateau equals PyTorch's ReduceLROnPlateau", () => {
  type Plateau = Extract<Schedule, { name: "plateau" }>;

  function epochRates(options: Partial<Plateau>, monitor: Monitor, values: number[]): number[] {
    const schedule = scheduleSchema.parse({ name: "plateau", ...options }) as Plateau;
    let state: PlateauState = plateauStart(0.1);
    return values.map((value) => {
      const { lr } = state;
      // its whole state survives a checkpoint
      state = JSON.parse(JSON.stringify(plateauAfter(schedule, monitor, state, value)));
      return lr;
    });
  }

  it("lower is better, threshold, cooldown, least rate", () => {
    const losses = [1, 0.9, 0.9, 0.95, 0.92, 0.899995, 0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86];
    const options = { factor: 0.5, patience: 1, threshold: 1e-4, cooldown: 2, min: 0.02 };
    expectRates(
      epochRates(options, "validationLoss", losses),
      [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025],
    );
  });

  it("higher is better for an accuracy", () => {
    const accuracies = [0.1, 0.5, 0.4, 0.5, 0.5000001, 0.6, 0.55, 0.55, 0.3, 0.2];
    expectRates(
      epochRates({ patience: 0 }, "trainAccuracy", accuracies),
      [0.1, 0.1, 0.1, 0.01, 0.001, 0.0001, 0.0001, 1e-5, 1e-6, 1e-7],
    );
  });

  it("ends at the least rate", () => {
    const values = epochRates({ factor: 0.5, patience: 0, min: 0.03 }, "trainLoss", [1, 1, 1, 1, 1]);
    expectRates(values, [0.1, 0.1, 0.05, 0.03, 0.03]);
  });
});
