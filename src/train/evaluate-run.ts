import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import { UserError } from "../tensor/errors.ts";
import { evaluate, Programs } from "./evaluate.ts";
import { evaluationGraph } from "./graphs.ts";
import { expectData, loadInOrder, partsOf } from "./parts.ts";
import { loadTrained, type Trained } from "./trained.ts";
import type { Evaluation, RunProgress } from "./types.ts";
import { writeWeights } from "./weights.ts";

export interface EvaluateRequest {
  /** A run's folder or a model.safetensors. */
  readonly path: string;
  /** What is there, where it was read already. */
  readonly trained?: Trained;
  readonly dataset: Dataset;
  readonly engine: Engine;
  /** The test set by default; validation and training parts are those the run had. */
  readonly part?: "test" | "validation" | "train";
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RunProgress) => void;
}

/**
 * Evaluates a trained model on a data set of its classes and image size.
 * @throws UserError as loadTrained, and when the data do not fit or the part asked for is empty.
 */
export async function evaluateRun(request: EvaluateRequest): Promise<Evaluation> {
  const { path, dataset, engine, part: name = "test", batch = 64, signal, onProgress } = request;
  const trained = request.trained ?? (await loadTrained(path));
  const { model, classes, image, normalization, data, weights } = trained;
  expectData(path, { classes, image }, dataset);
  if (name !== "test" && dataset.fingerprint !== data?.fingerprint) {
    throw new UserError(
      `${path}: which images served for ${name} is known only of the data it was trained on`,
    );
  }
  const part = partsOf(name === "test" || !data ? { validation: 0 } : data, dataset)[name];
  if (!part) throw new UserError(`${path}: nothing was held back to validate: evaluate on test or train`);
  const variables = new Variables(0);
  buildModel(model, variables, { batch, image, training: false });
  const store = engine.open(variables.all());
  const loader = loadInOrder(part, dataset, batch, normalization);
  try {
    writeWeights(store, weights);
    const build = (size: number) => evaluationGraph(model, variables, { batch: size, image });
    const programs = new Programs(store, build, { keepsWeights: true });
    return await evaluate({ programs, loader, count: part.count, classes, signal, onProgress });
  } finally {
    await loader.close();
    store.close();
  }
}
