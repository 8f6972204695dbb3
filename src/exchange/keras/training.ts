import { isLayerGraph } from "../../models/architecture.ts";
import { Variables } from "../../nn/scope.ts";
import { UserError } from "../../tensor/errors.ts";
import { Checkpoints } from "../../train/checkpoint.ts";
import { trainingGraph } from "../../train/graphs.ts";
import { createOptimizer, type OptimizerOptions } from "../../train/optimizers.ts";
import { readRunFile } from "../../train/run-folder.ts";
import type { Trained } from "../../train/trained.ts";
import type { Weights } from "../../train/weights.ts";

/** How a model was trained, as far as Keras could go on with it. */
export interface KerasTraining {
  readonly optimizer: OptimizerOptions;
  /**
   * Steps done, and the optimiser's slots by their names of ours: for tf.keras 2, which goes on with them. Keras 3 must
   * compile a model with them again before it trains.
   */
  readonly state?: { readonly step: number; readonly slots: Weights };
}

/**
 * What a run's folder knows of the training of its model; undefined when there is no run. The optimiser's slots are
 * there when a checkpoint has the very weights of the model.
 */
export async function trainingOf(
  folder: string,
  { model, image, weights }: Trained,
  withState: boolean,
): Promise<KerasTraining | undefined> {
  const run = await readRunFile(folder);
  if (!run || isLayerGraph(model)) return undefined;
  const { optimizer } = run.settings.train;
  if (!withState) return { optimizer };
  const variables = new Variables(0);
  trainingGraph(model, variables, createOptimizer(optimizer), { batch: 2, image });
  const checkpoints = new Checkpoints(folder);
  for (const step of await checkpoints.steps()) {
    const found = await checkpoints.read(step, variables.all()).catch(unlessUserError);
    const fits = [...weights].every(([name, values]) => equal(found?.weights.get(name), values));
    if (found && fits) return { optimizer, state: { step: found.state.step, slots: found.weights } };
  }
  return { optimizer };
}

/**
 * The same with the optimiser's state.
 * @throws UserError saying why there is none that Keras could go on with.
 */
export async function trainingWithState(
  folder: string | undefined,
  trained: Trained,
): Promise<KerasTraining> {
  const none = (why: string) =>
    new UserError(`${why}: leave --optimizer-state away, Keras' optimizer then starts anew`);
  const training = folder === undefined ? undefined : await trainingOf(folder, trained, true);
  if (!training) throw none("the optimizer's state is kept in the folder of a run, this is none");
  const { class_name: name, slots } = kerasOptimizer(training.optimizer);
  if (slots.length === 0) throw none(`${folder}: Keras keeps the state of ${name} in another unit`);
  if (!training.state) throw none(`${folder}: no checkpoint has the optimizer's state of these very weights`);
  return training;
}

/** A checkpoint that cannot be read is none. */
function unlessUserError(error: unknown): undefined {
  if (error instanceof UserError) return undefined;
  throw error;
}

const equal = (a: Float32Array | undefined, b: Float32Array) =>
  a?.length === b.length && a.every((value, i) => value === b[i]);

interface KerasOptimizer {
  readonly class_name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Slots that Keras and we call alike and that hold the same numbers. */
  readonly slots: readonly string[];
}

/**
 * Keras' optimiser for one of ours. What it has no word for that both of its versions read is left out: weight decay,
 * which SGD and Adam have in the gradient here. SGD's momentum is kept in another unit there (times the rate), so it
 * starts anew.
 */
export function kerasOptimizer(options: OptimizerOptions): KerasOptimizer {
  const { lr: learning_rate } = options;
  if (options.name === "sgd") {
    const { momentum, nesterov } = options;
    return { class_name: "SGD", config: { name: "SGD", learning_rate, momentum, nesterov }, slots: [] };
  }
  const { beta1: beta_1, beta2: beta_2, eps: epsilon } = options;
  const decay = options.name === "adam" && options.decay > 0 ? { decay: options.decay } : {};
  const config = { name: "Adam", learning_rate, ...decay, beta_1, beta_2, epsilon, amsgrad: false };
  return { class_name: "Adam", config, slots: ["m", "v"] };
}
