import { sizeOf } from "../tensor/tensor.ts";
import { defineOp, expectLayout, expectSame } from "./op.ts";

export interface SgdAttrs {
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
}

/**
 * g ← g + λθ; v ← μv + g; θ ← θ − rate·(g + μv if Nesterov, else v): PyTorch's SGD.
 * Overwrites θ and v; gradient in θ's shape, rate [1].
 */
export const sgdOp = defineOp<SgdAttrs>({
  name: "sgd",
  shape: ([parameter, gradient, velocity, rate]) => {
    expectSame("sgd", "gradient", gradient, parameter);
    expectSame("sgd", "velocity", velocity, parameter);
    expectSame("sgd", "rate", rate, [1]);
    return [0];
  },
  vjp: null,
  writes: [0, 2],
  reference: ({ inputs: [parameter, gradient, velocity, [rate]], attrs }) => {
    for (let i = 0; i < parameter.length; i++) {
      const g = gradient[i] + attrs.weightDecay * parameter[i];
      velocity[i] = attrs.momentum * velocity[i] + g;
      parameter[i] -= rate * (attrs.nesterov ? g + attrs.momentum * velocity[i] : velocity[i]);
    }
  },
  native: ({ inputs: [parameter, gradient, velocity], attrs }) => {
    expectLayout("sgd", "gradient", gradient, parameter.layout);
    expectLayout("sgd", "velocity", velocity, parameter.layout);
    const { momentum, nesterov, weightDecay } = attrs;
    return { kernel: "sgd", params: [sizeOf(parameter.shape), momentum, Number(nesterov), weightDecay] };
  },
});

export interface AdamAttrs {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** L2 term added to the gradient; AdamW's decoupled decay is in `rates` instead. */
  readonly weightDecay: number;
}

/**
 * g ← g + λθ; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← shrink·θ − rate·m/(√v·correction + ε)
 * (Kingma and Ba, 1412.6980; decoupled decay 1711.05101). Overwrites θ, m and v.
 *
 * rates [3] = rate, correction, shrink, in which the step's bias corrections and the convention lie:
 * PyTorch rate = lr/(1−β₁ᵗ), correction = 1/√(1−β₂ᵗ); Keras rate = lr·√(1−β₂ᵗ)/(1−β₁ᵗ), correction = 1.
 */
export const adamOp = defineOp<AdamAttrs>({
  name: "adam",
  shape: ([parameter, gradient, first, second, rates]) => {
    expectSame("adam", "gradient", gradient, parameter);
    expectSame("adam", "first moment", first, parameter);
    expectSame("adam", "second moment", second, parameter);
    expectSame("adam", "rates", rates, [3]);
    return [0];
  },
  vjp: null,
  writes: [0, 2, 3],
  reference: ({ inputs: [parameter, gradient, m, v, [rate, correction, shrink]], attrs }) => {
    const { beta1, beta2, eps, weightDecay } = attrs;
    for (let i = 0; i < parameter.length; i++) {
      const g = gradient[i] + weightDecay * parameter[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      parameter[i] = shrink * parameter[i] - (rate * m[i]) / (Math.sqrt(v[i]) * correction + eps);
    }
  },
  native: ({ inputs: [parameter, gradient, first, second], attrs: { beta1, beta2, eps, weightDecay } }) => {
    expectLayout("adam", "gradient", gradient, parameter.layout);
    expectLayout("adam", "first moment", first, parameter.layout);
    expectLayout("adam", "second moment", second, parameter.layout);
    return { kernel: "adam", params: [sizeOf(parameter.shape), beta1, beta2, eps, weightDecay] };
  },
});
