import { describe, expect, it } from "vitest";
import { createOptimizer } from "../../../src/train/optimizers.ts";

/** β₁ = ½, β₂ = ¾: on paper the second step's corrections are 1 − β₁² = ¾ and √(1 − β₂²) = √7/4. */
const betas = { beta1: 0.5, beta2: 0.75 };
const root = Math.sqrt(7) / 4;

describe("rates of a step", () => {
  it.each([
    ["sgd", { name: "sgd" }, [0.3]],
    ["adam as PyTorch's", { name: "adam", ...betas }, [0.4, 1 / root, 1]],
    ["adam as Keras'", { name: "adam", convention: "keras", ...betas }, [0.4 * root, 1, 1]],
    ["adam with decay", { name: "adam", decay: 0.5, ...betas }, [0.4 / 1.5, 1 / root, 1]],
    [
      "adam with decay as Keras'",
      { name: "adam", convention: "keras", decay: 0.5, ...betas },
      [(0.4 * root) / 1.5, 1, 1],
    ],
    ["adamw", { name: "adamw", weightDecay: 0.1, ...betas }, [0.4, 1 / root, 0.97]],
  ])("%s", (_, options, expected) => {
    const optimizer = createOptimizer(options as Parameters<typeof createOptimizer>[0]);
    expect(optimizer.rates(1, 0.3)).toEqual(Float32Array.from(expected));
    expect(optimizer.ratesShape).toEqual([expected.length]);
  });
});

it("an unknown optimiser is answered with the nearest", () => {
  expect(() => createOptimizer({ name: "adm" } as never)).toThrow(
    /unknown optimizer "adm": did you mean adam\? There are sgd, adam, adamw/,
  );
});
