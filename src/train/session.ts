import type { Dataset, Normalization } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Engine, Executable, Store } from "../engine/engine.ts";
import { expectMemory } from "../engine/memory.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { type Adoption, adopt, type Pretrained } from "./adopt.ts";
import { type EvaluationJob, Programs } from "./evaluate.ts";
import { expectLayers } from "./freeze.ts";
import { evaluationGraph, inspectionGraph, trainingGraph } from "./graphs.ts";
import { createOptimizer, type Optimizer } from "./optimizers.ts";
import { warmupSteps } from "./options.ts";
import { expectData, loadInOrder, normalizationOf, type Part, partsOf } from "./parts.ts";
import { type Monitors, monitorsOf } from "./state.ts";
import type { RunSettings } from "./types.ts";

/** Batches that the loaders of training, validation and test hold ready, and one on its way. */
const BATCHES_HELD = 3 * 6 + 1;

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
  /** Programs that show where numbers stop being finite, of training steps or of evaluation. */
  readonly inspection: Readonly<Record<"training" | "evaluation", Programs>>;
  /** What was taken of pretrained weights; absent without. */
  readonly adoption?: Adoption;
  /** Memory that all of this takes once it runs, a copy of the variables for checkpoints included. */
  readonly bytes: number;
  close(): Promise<void>;
}

export type EvaluationPart = Pick<EvaluationJob, "programs" | "loader" | "count" | "classes">;

/**
 * @param pretrained what variables of the same name and shape start from.
 * @throws UserError when settings and data do not fit together, or the machine lacks the memory; ShapeError when
 * model and image size do not fit.
 */
export function openSession(
  settings: RunSettings,
  dataset: Dataset,
  engine: Engine,
  pretrained?: Pretrained,
): Session {
  expectFitting(settings, dataset);
  const { variant, model, train, data, seed } = settings;
  const { image } = data;
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
    trainingGraph(model, variables, optimizer, { ...train, batch: size, image });
  buildTraining(batch); // declares every variable, slots included
  expectLayers(train.freeze ?? [], variables);
  const start = pretrained && adopt(variables.all(), pretrained, settings.pretrained?.file ?? "pretrained");
  const need = needOf(`run ${variant} with batches of ${batch}`, variables);
  const store = engine.open(start?.variables ?? variables.all());
  const training = new Programs(store, buildTraining);
  const evaluation = new Programs(store, (size) => evaluationGraph(model, variables, { batch: size, image }));
  const inspect = (inTraining: boolean) =>
    new Programs(store, (size) =>
      inspectionGraph(model, variables, { batch: size, image, training: inTraining, freeze: train.freeze }),
    );
  const judged = [parts.validation, parts.test].flatMap((part) => part ?? []);
  const bytes = need(store, [
    ...batchSizes(parts.train, batch).map((size) => training.of(size)),
    ...judged.flatMap((part) => batchSizes(part, batch)).map((size) => evaluation.of(size)),
  ]);
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
    ...{ store, optimizer, training, normalization, loader, stepsPerEpoch, monitors, bytes },
    warmupSteps: warmup,
    ...(start && { adoption: start.adoption }),
    ...(parts.validation && { validation: toEvaluate(parts.validation) }),
    test: toEvaluate(parts.test),
    inspection: { training: inspect(true), evaluation: inspect(false) },
    close: async () => {
      await Promise.all(loaders.map((open) => open.close()));
      store.close();
    },
  };
}

function expectFitting({ variant, model, data }: RunSettings, dataset: Dataset): void {
  expectData(`run ${variant}`, data, dataset);
  if (model.classes !== dataset.classes.length) {
    throw new UserError(
      `run ${variant}: the model has ${model.classes} classes, data ${dataset.name} has ${dataset.classes.length}`,
    );
  }
  if (data.fingerprint !== dataset.fingerprint) {
    throw new UserError(`run ${variant}: data ${dataset.name} is not the data set it was set up with`);
  }
}

/** Sizes that batches of a part have: the full one, and what is left at the end. */
const batchSizes = ({ count }: Part, batch: number) =>
  [Math.min(batch, count), count % batch].filter((size) => size > 0);

/**
 * Makes sure that the machine has the memory for the variables and a copy of them, and answers with what tells the
 * whole need once programs are compiled. @throws UserError when it has not.
 */
function needOf(who: string, variables: Variables) {
  const floats = variables.all().reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  expectMemory(`${who}: its variables alone`, 2 * 4 * floats);
  return (store: Store, programs: readonly Executable[]): number => {
    const inputs = Math.max(...programs.map(({ inputs }) => bytesOf([...inputs.values()])));
    const scratch = Math.max(...programs.map(({ scratchBytes }) => scratchBytes));
    try {
      // what is allocated already is no longer available, and does not count twice
      expectMemory(who, 4 * floats + scratch + BATCHES_HELD * inputs);
    } catch (error) {
      store.close();
      throw error;
    }
    return 2 * 4 * floats + scratch + BATCHES_HELD * inputs;
  };
}

const bytesOf = (shapes: readonly Shape[]) => 4 * shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
