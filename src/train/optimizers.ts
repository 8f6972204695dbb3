import { z } from "zod";
import { unknownName } from "../models/options.ts";
import { zeros } from "../nn/initializers.ts";
import type { Variables } from "../nn/scope.ts";
import { apply } from "../ops/op.ts";
import { adamOp, sgdOp } from "../ops/optimizer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { byName } from "./named.ts";

const fraction = z.number().min(0).max(1);
const positive = z.number().positive();

/** Optimisers as a study file has them; the rate they start from is `lr`. */
export const optimizerSchema = byName(
  z.strictObject({
    name: z.literal("sgd"),
    lr: positive.default(0.1),
    momentum: fraction.default(0),
    nesterov: z.boolean().default(false),
    weightDecay: z.number().min(0).default(0),
  }),
  z.strictObject({
    name: z.literal("adam"),
    lr: positive.default(1e-3),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.999),
    eps: positive.default(1e-8),
    weightDecay: z.number().min(0).default(0),
    /** Where ε stands: PyTorch's after the bias correction, Keras' before it. */
    convention: z.enum(["torch", "keras"]).default("torch"),
    /** As in Keras: rate lr/(1 + decay·step), beside what the schedule does. */
    decay: z.number().min(0).default(0),
  }),
  z.strictObject({
    name: z.literal("adamw"),
    lr: positive.default(1e-3),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.999),
    eps: positive.default(1e-8),
    weightDecay: z.number().min(0).default(0.01),
  }),
);

export type OptimizerOptions = z.output<typeof optimizerSchema>;

export interface Optimizer {
  readonly options: OptimizerOptions;
  /** Shape of the input `rates`. */
  readonly ratesShape: readonly [number];
  /** The overwriting op that moves a parameter; slots are variables named `<parameter>.<slot>`. */
  update(parameter: Tensor, gradient: Tensor, rates: Tensor, variables: Variables): Tensor;
  /** Values of the input `rates` for a step counted from 0, at the rate the schedule gives. */
  rates(step: number, lr: number): Float32Array;
}

const slot = (variables: Variables, parameter: Tensor, name: string) =>
  variables.get(`${parameter.label}.${name}`, parameter.shape, "slot", parameter.layout, zeros);

type Named<N extends string> = Extract<OptimizerOptions, { name: N }>;

function sgd(options: Named<"sgd">): Optimizer {
  const { momentum, nesterov, weightDecay } = options;
  return {
    options,
    ratesShape: [1],
    update: (parameter, gradient, rates, variables) =>
      apply(sgdOp, [parameter, gradient, slot(variables, parameter, "momentum"), rates], {
        momentum,
        nesterov,
        weightDecay,
      }),
    rates: (_, lr) => Float32Array.of(lr),
  };
}

function adam(options: Named<"adam"> | Named<"adamw">): Optimizer {
  const { beta1, beta2, eps } = options;
  const decoupled = options.name === "adamw";
  const weightDecay = decoupled ? 0 : options.weightDecay;
  return {
    options,
    ratesShape: [3],
    update: (parameter, gradient, rates, variables) => {
      const slots = [slot(variables, parameter, "m"), slot(variables, parameter, "v")];
      return apply(adamOp, [parameter, gradient, ...slots, rates], { beta1, beta2, eps, weightDecay });
    },
    rates: (step, lr) => {
      const first = 1 - beta1 ** (step + 1);
      const second = Math.sqrt(1 - beta2 ** (step + 1));
      if (options.name === "adamw")
        return Float32Array.of(lr / first, 1 / second, 1 - lr * options.weightDecay);
      const rate = lr / (1 + options.decay * step);
      if (options.convention === "torch") return Float32Array.of(rate / first, 1 / second, 1);
      return Float32Array.of((rate * second) / first, 1, 1);
    },
  };
}

const optimizers: { readonly [N in OptimizerOptions["name"]]: (options: Named<N>) => Optimizer } = {
  sgd,
  adam,
  adamw: adam,
};

/** @throws UserError with the nearest name when there is no such optimiser. */
export function createOptimizer(options: z.input<typeof optimizerSchema>): Optimizer {
  const name = typeof options === "string" ? options : options.name;
  if (!Object.hasOwn(optimizers, name)) throw unknownName("optimizer", name, Object.keys(optimizers));
  const parsed = optimizerSchema.parse(options);
  return (optimizers[parsed.name] as (options: OptimizerOptions) => Optimizer)(parsed);
}
