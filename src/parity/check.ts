import type { Engine } from "../engine/engine.ts";
import { UserError } from "../tensor/errors.ts";
import { showShape } from "../tensor/tensor.ts";
import type { ParityCase, StoredValues } from "./case.ts";
import { explain } from "./heatmaps.ts";
import { type Computed, countParameters, differentiate, evaluate, train } from "./quantities.ts";

/** How far a quantity, or a family of them, is from what the other program computed. */
export interface Row {
  /** Such as `eval.logits`, or `grad.*` for all of a family. */
  readonly quantity: string;
  /** Tensors compared. */
  readonly tensors: number;
  /** Largest error of the family, relative to its tensor's largest magnitude. */
  readonly error: number;
  readonly tolerance: number;
  /** The tensor it is in. */
  readonly worst: string;
}

export interface CaseReport {
  readonly rows: readonly Row[];
}

export const passes = ({ error, tolerance }: Row) => error <= tolerance;

/** Of logits, probabilities, losses, gradients and statistics. */
const valueTolerance = 1e-4;
/** Of maps that come from a singular vector, or from many runs of the network. */
const heatmapTolerance = 1e-3;
const looseHeatmaps = /^cam\.(.*eigen.*|scorecam|ablationcam)$/;
/** Of the norm of all movements together: Adam's first steps amplify rounding where a gradient is nearly 0. */
const movementTolerance = 0.03;
/** Stands for the magnitude of what is expected to be 0 throughout. */
const zeroMagnitude = 1e-2;

/**
 * Computes again what a case expects and measures the differences.
 * @throws UserError for a case whose tensors do not fit its architecture.
 */
export async function checkCase(at: ParityCase, engine: Engine): Promise<CaseReport> {
  const rows: Row[] = [];
  const left = new Map(at.expected);
  /** Compares all expected tensors of a family and takes them away. */
  const family = (quantity: string, prefix: string, computed: Computed) => {
    const expected = new Map<string, StoredValues>();
    for (const [name, values] of left) {
      if (!name.startsWith(prefix) || !computed.has(name.slice(prefix.length))) continue;
      expected.set(name.slice(prefix.length), values);
      left.delete(name);
    }
    if (expected.size > 0) rows.push(largestError(at, quantity, expected, computed));
  };
  const wants = (prefix: string) => [...left.keys()].some((name) => name.startsWith(prefix));

  if (at.parameters !== undefined) rows.push(parameterCount(at));
  if (wants("eval.")) {
    for (const [name, values] of await evaluate(at, engine))
      family(`eval.${name}`, "eval.", new Map([[name, values]]));
  }
  if (["train.", "grad.", "after1."].some(wants)) {
    const { outputs, gradients, statistics } = await differentiate(at, engine);
    for (const [name, values] of outputs) family(`train.${name}`, "train.", new Map([[name, values]]));
    family("grad.*", "grad.", gradients);
    family("after1.*", "after1.", statistics);
  }
  for (const training of at.trainings) {
    const prefix = `${training.key}.`;
    if (!wants(prefix)) continue;
    const { losses, parameters, statistics } = await train(at, engine, training);
    family(`${prefix}losses`, prefix, new Map([["losses", losses]]));
    for (const [name, values] of Object.entries({ updates: parameters, statistics })) {
      const row = movementError(at, prefix, name, left, values);
      if (row) rows.push(row);
    }
  }
  const heatmaps = [...left.keys()].filter((name) => /^(cam|map)\./.test(name));
  if (heatmaps.length > 0) {
    for (const [name, values] of await explain(at, engine, heatmaps)) {
      const tolerance = looseHeatmaps.test(name) ? heatmapTolerance : valueTolerance;
      rows.push({
        ...largestError(at, name, new Map([["", left.get(name)!]]), new Map([["", values]])),
        tolerance,
      });
      left.delete(name);
    }
  }
  const unknown = [...left.keys()];
  if (unknown.length > 0) {
    const more = unknown.length > 1 ? ` and ${unknown.length - 1} more` : "";
    throw new UserError(`${at.folder}/expect.safetensors: nothing here computes ${unknown[0]}${more}`);
  }
  if (rows.length === 0) throw new UserError(`${at.folder}/expect.safetensors: holds nothing to compare`);
  return { rows };
}

function parameterCount(at: ParityCase): Row {
  const ours = countParameters(at);
  const error = Math.abs(ours - at.parameters!) / at.parameters!;
  return { quantity: "parameters", tensors: 1, error, tolerance: 0, worst: `${ours} of ${at.parameters}` };
}

function largestError(
  at: ParityCase,
  quantity: string,
  expected: ReadonlyMap<string, StoredValues>,
  computed: Computed,
): Row {
  let [error, worst] = [0, ""];
  for (const [name, tensor] of expected) {
    const own = relativeError(at, `${quantity.replace(/[^.]*$/, "")}${name}`, tensor, computed.get(name)!);
    if (worst === "" || own > error) [error, worst] = [own, name];
  }
  return { quantity, tensors: expected.size, error, tolerance: valueTolerance, worst };
}

/** Largest difference over the expected tensor's largest magnitude; infinite where ours is no number. */
function relativeError(at: ParityCase, name: string, tensor: StoredValues, ours: ArrayLike<number>): number {
  expectCount(at, name, tensor, ours);
  const { values } = tensor;
  let [largest, magnitude] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const difference = Math.abs(values[i] - ours[i]);
    if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, difference);
    magnitude = Math.max(magnitude, Math.abs(values[i]));
  }
  return largest / (magnitude || zeroMagnitude);
}

/**
 * ‖movement − expected movement‖ / ‖expected movement‖ from the initial state, over all variables of a kind
 * together; takes them away from `left`.
 */
function movementError(
  at: ParityCase,
  prefix: string,
  kind: string,
  left: Map<string, StoredValues>,
  variables: Computed,
): Row | undefined {
  let [wrong, whole, tensors, worst, worstWrong] = [0, 0, 0, "", -1];
  for (const [name, ours] of variables) {
    const expected = left.get(prefix + name);
    if (!expected) continue;
    left.delete(prefix + name);
    expectCount(at, prefix + name, expected, ours);
    const start = at.initial.get(name)!.values;
    let own = 0;
    expected.values.forEach((end, i) => {
      own += (ours[i] - end) ** 2;
      whole += (end - start[i]) ** 2;
    });
    if (Number.isNaN(own)) own = Number.POSITIVE_INFINITY;
    wrong += own;
    tensors++;
    if (own > worstWrong) [worst, worstWrong] = [name, own];
  }
  if (tensors === 0) return undefined;
  return {
    quantity: `${prefix}${kind}`,
    tensors,
    error:
      wrong === Number.POSITIVE_INFINITY ? wrong : Math.sqrt(wrong) / (Math.sqrt(whole) || zeroMagnitude),
    tolerance: movementTolerance,
    worst,
  };
}

function expectCount(
  { folder }: ParityCase,
  name: string,
  { values, shape }: StoredValues,
  ours: ArrayLike<number>,
): void {
  if (values.length === ours.length) return;
  throw new UserError(
    `${folder}/expect.safetensors: ${name} is ${showShape(shape)}, the case computes ${ours.length} values`,
  );
}
