import type { Dataset, Normalization } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Engine, Store } from "../engine/engine.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import { type EvaluationJob, Programs } from "./evaluate.ts";
import { evaluationGraph, trainingGraph } from "./graphs.ts";
import { createOptimizer, type Optimizer } from "./optimizers.ts";
import { warmupSteps } from "./options.ts";
import { expectData, loadInOrder, normalizationOf, type Part, partsOf } from "./parts.ts";
import { type Monitors, monitorsOf } from "./state.ts";
import type { RunSettings } from "./types.ts";

/** What is open while a run is trained: variables, programs and data. */
export interface Session {
  readonly store: Store;
  readonly optimizer: Optimizer;
  readonly training: Programs;
  readonly normalization: Normalization;
  readonly loader: Loader;
  readonly stepsPerEpoch: number;
  readonly warmupSteps: number;
  readonly monitors: Monitors;
  /** To evaluate on; `validation` is absent when nothing is held back. */
  readonly validation?: EvaluationPart;
  readonly test: EvaluationPart;
  close(): Promise<void>;
}

export type EvaluationPart = Pick<EvaluationJob, "programs" | "loader" | "count" | "classes">;

/** @throws UserError when settings and data do not fit together, ShapeError when model and image size do not. */
export function openSession(settings: RunSettings, dataset: Dataset, engine: Engine): Session {
  const { model, train, data, seed } = settings;
  const { image } = data;
  expectData(`run ${settings.variant}`, data, dataset);
  if (model.classes !== dataset.classes.length) {
    throw new UserError(
      `run ${settings.variant}: the model has ${model.classes} classes, data ${dataset.name} has ${dataset.classes.length}`,
    );
  }
  if (data.fingerprint !== dataset.fingerprint) {
    throw new UserError(
      `run ${settings.variant}: data ${dataset.name} is not the data set it was set up with`,
    );
  }
  const parts = partsOf(data, dataset);
  const monitors = monitorsOf(train, parts.validation !== undefined);
  const batch = Math.min(train.batch, parts.train.count);
  const stepsPerEpoch = Math.ceil(parts.train.count / batch);
  const warmup = warmupSteps(train.warmup, stepsPerEpoch);
  if (warmup > 0 && warmup >= stepsPerEpoch * train.epochs) {
    throw new UserError(
      `train.warmup: ${warmup} steps are not shorter than the training's ${stepsPerEpoch * train.epochs} steps`,
    );
  }
  const normalization = normalizationOf(data, dataset, parts);
  const optimizer = createOptimizer(train.optimizer);
  const variables = new Variables(seed);
  const buildTraining = (size: number) =>
    trainingGraph(model, variables, optimizer, { batch: size, image, labelSmoothing: train.labelSmoothing });
  buildTraining(batch); // declares every variable, slots included
  const store = engine.open(variables.all());
  const evaluation = new Programs(store, (size) => evaluationGraph(model, variables, { batch: size, image }));
  const { height, width, classes } = dataset;
  const { split, indices } = parts.train;
  const loader = new Loader({
    ...{ split, indices, height, width, batch, normalization, seed, shuffle: true },
    augmentation: train.augment,
  });
  const loaders = [loader];
  const toEvaluate = (part: Part): EvaluationPart => {
    const own = loadInOrder(part, dataset, batch, normalization);
    loaders.push(own);
    return { programs: evaluation, loader: own, count: part.count, classes };
  };
  return {
    store,
    optimizer,
    training: new Programs(store, buildTraining),
    normalization,
    loader,
    stepsPerEpoch,
    warmupSteps: warmup,
    monitors,
    ...(parts.validation && { validation: toEvaluate(parts.validation) }),
    test: toEvaluate(parts.test),
    close: async () => {
      await Promise.all(loaders.map((open) => open.close()));
      store.close();
    },
  };
}
