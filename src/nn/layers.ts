import { batchNorm, batchNormInference, batchStatistics, updateRunningOp } from "../ops/batch-norm.ts";
import { type Conv2dOptions, conv2d } from "../ops/conv.ts";
import { add } from "../ops/elementwise.ts";
import { apply } from "../ops/op.ts";
import { reshape } from "../ops/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Initializer, ones, zeros } from "./initializers.ts";
import type { BatchNormOptions, Scope } from "./scope.ts";

export interface ConvLayer extends Conv2dOptions {
  readonly kernel: number;
  readonly bias?: boolean;
  readonly initializer?: Initializer;
}

/** Convolution with its own kernel. x [N,I,H,W] → [N,channels,OH,OW]; zeros of half the kernel around x. */
export function conv(name: string, x: Tensor, nn: Scope, channels: number, options: ConvLayer): Tensor {
  const { kernel, bias = false, initializer = nn.initialization.convolution, ...rest } = options;
  return nn.layer(name, (own) => {
    const w = own.parameter("weight", [channels, x.shape[1], kernel, kernel], initializer);
    const y = conv2d(x, w, rest);
    if (!bias) return y;
    const biasInitializer = own.initialization.bias(x.shape[1] * kernel * kernel);
    y.label = own.path;
    return add(y, reshape(own.parameter("bias", [channels], biasInitializer), [channels, 1, 1]));
  });
}

/** PyTorch's constants. */
export const torchBatchNorm: BatchNormOptions = { eps: 1e-5, momentum: 0.1 };
/** Keras' constants in PyTorch's convention. */
export const kerasBatchNorm: BatchNormOptions = { eps: 1e-3, momentum: 0.01 };

/** Batch normalisation (1502.03167): batch statistics in training, running ones in evaluation. x [N,C,H,W] → same. */
export function norm(
  name: string,
  x: Tensor,
  nn: Scope,
  options: Partial<BatchNormOptions> & { gamma?: Initializer } = {},
): Tensor {
  return nn.layer(name, (own) => {
    const { gamma = ones, ...constants } = { ...own.batchNorm, ...options };
    const channels = [x.shape[1]];
    return normalize(x, own, {
      ...constants,
      gamma: own.parameter("weight", channels, gamma),
      beta: own.parameter("bias", channels, zeros),
    });
  });
}

/** γ and β [C] of a batch normalisation whose running statistics are in `nn`. x [N,C,H,W] → same. */
export function normalize(
  x: Tensor,
  nn: Scope,
  { eps, momentum, gamma, beta }: BatchNormOptions & { readonly gamma: Tensor; readonly beta: Tensor },
): Tensor {
  const channels = [x.shape[1]];
  const mean = nn.statistic("running_mean", channels, zeros);
  const variance = nn.statistic("running_var", channels, ones);
  if (!nn.training) return batchNormInference(x, { mean, variance }, gamma, beta, eps);
  const statistics = batchStatistics(x);
  const count = x.shape[0] * x.shape[2] * x.shape[3];
  nn.effect(apply(updateRunningOp, [mean, variance, statistics], { momentum, count }));
  return batchNorm(x, statistics, gamma, beta, eps);
}

/** Dense layer x·Wᵀ + b. x [N,I] → [N,units]. */
export function dense(name: string, x: Tensor, nn: Scope, units: number): Tensor {
  return nn.layer(name, (own) => {
    const [n, inputs] = x.shape;
    const w = own.parameter("weight", [units, inputs], own.initialization.dense);
    const b = own.parameter("bias", [units], own.initialization.bias(inputs));
    const y = conv2d(reshape(x, [n, inputs, 1, 1]), reshape(w, [units, inputs, 1, 1]));
    y.label = own.path;
    return add(reshape(y, [n, units]), b);
  });
}
