import { gradient } from "../autodiff/gradient.ts";
import type { Graph } from "../compile/graph.ts";
import type { Architecture } from "../models/architecture.ts";
import { type BuildOptions, buildModel } from "../models/build.ts";
import type { ResNet } from "../models/resnet.ts";
import type { Variables } from "../nn/scope.ts";
import { crossEntropy } from "../ops/loss.ts";
import { globalAvgPool } from "../ops/reduce.ts";
import { constant } from "../ops/shape.ts";
import { UserError } from "../tensor/errors.ts";
import { input, type Tensor } from "../tensor/tensor.ts";
import { isFrozen } from "./freeze.ts";
import type { Optimizer } from "./optimizers.ts";
import type { TrainOptions } from "./types.ts";

type Batch = Pick<BuildOptions, "batch" | "image">;

/** What of a training's options decides its graph. */
export type GraphOptions = Partial<Pick<TrainOptions, "labelSmoothing" | "freeze" | "bodyRate">>;

/**
 * One training step: feeds `images` [N,3,H,W], `labels` [N], `rates`, and with `bodyRate` also `bodyRates`; outputs
 * `loss` [1], `logits` [N,K]; overwrites parameters, slots and running statistics, but for those of frozen layers.
 */
export function trainingGraph(
  model: ResNet,
  variables: Variables,
  optimizer: Optimizer,
  { labelSmoothing = 0, freeze = [], bodyRate, ...batch }: Batch & GraphOptions,
): Graph {
  const frozen = isFrozen(freeze);
  const { logits, nn } = buildModel(model, variables, { ...batch, training: true, frozen });
  const loss = crossEntropy(logits, input("labels", [batch.batch]), labelSmoothing);
  const rates = input("rates", optimizer.ratesShape);
  const bodyRates = bodyRate === undefined ? rates : input("bodyRates", optimizer.ratesShape);
  const parameters = variables.tensors("parameter").filter(({ label }) => !frozen(label));
  if (parameters.length === 0) {
    throw new UserError(`train.freeze: ${freeze.join(", ")} leave nothing to train: name fewer layers`);
  }
  const inHead = isFrozen([logits.label]);
  const gradients = gradient(loss, constant(loss.shape, 1), parameters);
  const updates = parameters.map((parameter, k) =>
    optimizer.update(parameter, gradients[k], inHead(parameter.label) ? rates : bodyRates, variables),
  );
  // from the last layer to the first: a gradient is used as soon as it is there, and its memory is free again
  return { outputs: { loss, logits }, effects: [...nn.effects, ...updates.reverse()] };
}

/** One evaluated batch: feeds `images`, `labels`; outputs `loss` [1] (mean, no smoothing) and `logits`. */
export function evaluationGraph(model: Architecture, variables: Variables, batch: Batch): Graph {
  const { logits } = buildModel(model, variables, { ...batch, training: false });
  return { outputs: { loss: crossEntropy(logits, input("labels", [batch.batch])), logits }, effects: [] };
}

/**
 * Shows where numbers stop being finite: feeds `images`; outputs a few values of every layer, by its name and in the
 * order in which the layers are computed, which are finite when all of the layer's are. Overwrites nothing.
 */
export function inspectionGraph(
  model: ResNet,
  variables: Variables,
  { freeze = [], ...batch }: Batch & { readonly training: boolean } & Pick<GraphOptions, "freeze">,
): Graph {
  const { nn } = buildModel(model, variables, { ...batch, frozen: isFrozen(freeze) });
  const summary = (x: Tensor) => (x.shape.length === 4 ? globalAvgPool(x) : x);
  return { outputs: Object.fromEntries([...nn.layers].map(([name, x]) => [name, summary(x)])), effects: [] };
}
