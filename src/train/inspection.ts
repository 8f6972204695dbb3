import type { Loader } from "../data/loader.ts";
import type { Store } from "../engine/engine.ts";
import { sizeOf } from "../tensor/tensor.ts";
import type { Checkpoints } from "./checkpoint.ts";
import type { Programs } from "./evaluate.ts";
import type { EvaluationPart, Session } from "./session.ts";
import type { Position, Steps } from "./steps.ts";
import { writeWeights } from "./weights.ts";

const allFinite = (values: Float32Array) => values.every(Number.isFinite);

/**
 * Says which layer goes first on a batch with the variables as they are, and whether it is the layer's values or its
 * output that are no longer finite; undefined when the output of every layer is finite.
 */
async function firstNotFinite(
  store: Store,
  programs: Programs,
  loader: Loader,
  [epoch, step]: readonly [number, number],
): Promise<string | undefined> {
  const { images, count } = await loader.batch(epoch, step);
  const outputs = await programs.of(count).run({ images });
  const layer = Object.keys(outputs).find((name) => !allFinite(outputs[name]));
  if (layer === undefined) return undefined;
  const own = [...store.variables.values()].filter(
    ({ name, kind }) => kind !== "slot" && name.slice(0, name.lastIndexOf(".")) === layer,
  );
  const broken = own.find(({ name }) => !allFinite(store.read(name)));
  return `layer ${layer} went first: its ${broken ? broken.name.slice(layer.length + 1) : "output"} is no longer finite`;
}

/** Which layer goes first when a part is evaluated; undefined when none does. Overwrites nothing. */
export async function layerOfEvaluation(
  { store, inspection }: Session,
  { loader }: EvaluationPart,
): Promise<string | undefined> {
  for (let step = 0; step < loader.stepsPerEpoch; step++) {
    const layer = await firstNotFinite(store, inspection.evaluation, loader, [0, step]);
    if (layer) return layer;
  }
  return undefined;
}

/**
 * Which layer went first in the step at a position, whose variables are lost: goes back to the newest checkpoint,
 * else to the beginning, and trains up to that step again. Undefined when no layer's output did.
 */
export async function layerOfStep(
  { store, inspection, loader, stepsPerEpoch }: Session,
  steps: Steps,
  checkpoints: Checkpoints,
  { step: last, epoch, stepInEpoch, plateau }: Position,
): Promise<string | undefined> {
  const variables = [...store.variables.values()];
  const checkpoint = await checkpoints.newest(variables);
  if (checkpoint) writeWeights(store, checkpoint.weights);
  else {
    for (const { name, shape, initialize } of variables) {
      const values = new Float32Array(sizeOf(shape));
      initialize(values);
      store.write(name, values);
    }
  }
  for (let step = checkpoint?.state.step ?? 0; step < last; step++) {
    // all in one epoch: a checkpoint ends each
    const at = { step, epoch, stepInEpoch: step - epoch * stepsPerEpoch, plateau };
    await steps.run(at, await steps.batch(at));
  }
  return firstNotFinite(store, inspection.training, loader, [epoch, stepInEpoch]);
}
