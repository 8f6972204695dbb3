import type { Shape } from "../tensor/tensor.ts";
import { defineOp, expectRank, expectSame, type Op } from "./op.ts";

// Gradients of a layer w of pooled features γ·x̂ + β, from g = Σ_n dy·x̂, the gradient its weights would have of x̂ alone,
// and d = Σ_n dy. A compile pass makes them; models are not written with them.

function expectLayer(op: string, { g, w, d }: Readonly<Record<"g" | "w" | "d", Shape>>): void {
  expectRank(op, "g", g, 4);
  expectSame(op, "g", g, [g[0], g[1], 1, 1]);
  expectSame(op, "w", w, g);
  expectSame(op, "d", d, [1, g[0], 1, 1]);
}

/** Σ_n dy·(γ·x̂ + β) = γ·g + β·d. g, w [O,I,1,1], d [1,O,1,1], γ, β [I] → [O,I,1,1]. */
export const weightGradOfAffineOp = defineOp<null>({
  name: "weight_grad_of_affine",
  shape: ([g, w, d, gamma, beta]) => {
    expectLayer("weight_grad_of_affine", { g, w, d });
    for (const [name, shape] of Object.entries({ gamma, beta })) {
      expectSame("weight_grad_of_affine", name, shape, [g[1]]);
    }
    return g;
  },
  layout: "kernel",
  vjp: null,
  reference: ({ inputs: [g, , d, gamma, beta], output }) => {
    const channels = gamma.length;
    for (let i = 0; i < g.length; i++) {
      const c = i % channels;
      output[i] = gamma[c] * g[i] + beta[c] * d[Math.floor(i / channels)];
    }
  },
  native: ({ inputs: [g] }) => ({ kernel: "weight_grad_of_affine", params: [g.shape[1], g.shape[0]] }),
  inPlace: [0],
});

/**
 * What batch normalisation's gradient sums of the layer's input gradient dx = Σ_o w·dy, without a walk over dx: row 0,
 * Σ_n dx = Σ_o w·d; row 1, Σ_n dx·x̂ = Σ_o w·g. Computed by the record of a `weight_grad_of_affine`, of which g, w and d
 * are. weight gradient, g, w [O,I,1,1], d [1,O,1,1] → [2,I].
 */
export const inputSumsAlongOp: Op<null> = defineOp({
  name: "input_sums_along",
  shape: ([gradient, g, w, d]) => {
    expectSame("input_sums_along", "weight gradient", gradient, g);
    expectLayer("input_sums_along", { g, w, d });
    return [2, g[1]];
  },
  layout: "activation",
  vjp: null,
  reference: ({ inputs: [, g, w, d], shapes: [[, channels]], output }) => {
    output.fill(0);
    for (let i = 0; i < g.length; i++) {
      const c = i % channels;
      output[c] += w[i] * d[Math.floor(i / channels)];
      output[channels + c] += w[i] * g[i];
    }
  },
  native: () => ({ along: 0 }),
});
