import { replaceDurably } from "../files/durable.ts";
import { SafetensorsFile, writeSealed } from "../formats/sealed.ts";
import { DamagedFile, UserError } from "../tensor/errors.ts";
import { reorder } from "../tensor/layout.ts";
import { sizeOf, type Variable } from "../tensor/tensor.ts";
import { type TrainState, trainStateSchema } from "./state.ts";
import { readWeights, type Weights } from "./weights.ts";

const FORMAT = "atento-checkpoint-2";

export interface Checkpoint {
  readonly state: TrainState;
  readonly weights: Weights;
}

/** A variable in a snapshot: where it begins, and whether it lies there in the native engine's order. */
export interface SnapshotTensor extends Pick<Variable, "name" | "shape" | "layout"> {
  readonly offset: number;
  readonly physical: boolean;
}

/** A variable that holds values which are no numbers. */
export class NotFinite extends Error {
  readonly variable: string;

  constructor(variable: string) {
    super(`${variable} is not finite`);
    this.variable = variable;
  }
}

/**
 * Writes a snapshot as a sealed safetensors file, every tensor in logical order.
 * @throws NotFinite before anything is replaced, UserError when the file cannot be written.
 */
export async function writeCheckpoint(
  path: string,
  tensors: readonly SnapshotTensor[],
  snapshot: Float32Array,
  state: TrainState,
): Promise<void> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const longest = Math.max(0, ...tensors.map(({ shape }) => sizeOf(shape)));
  const scratch = new Float32Array(longest);
  const valuesOf = (name: string) => {
    const { shape, layout, offset, physical } = byName.get(name)!;
    const values = snapshot.subarray(offset, offset + sizeOf(shape));
    if (!allFinite(values)) throw new NotFinite(name);
    const logical = scratch.subarray(0, values.length);
    if (physical) reorder(values, logical, shape, layout, false);
    else logical.set(values);
    return logical;
  };
  const metadata = { format: FORMAT, state: JSON.stringify(state) };
  await replaceDurably(path, (file) => writeSealed(file, byName, metadata, valuesOf));
}

/** Whether all values are: what is infinite or no number times 0 is no number. Four sums at once are faster. */
function allFinite(values: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < values.length; i += 4) {
    a += values[i] * 0;
    b += values[i + 1] * 0;
    c += values[i + 2] * 0;
    d += values[i + 3] * 0;
  }
  for (; i < values.length; i++) a += values[i] * 0;
  return a + b + c + d === 0;
}

/** @throws DamagedFile, or UserError when it cannot be read, is of another version or holds other variables. */
export async function readCheckpoint(path: string, variables: readonly Variable[]): Promise<Checkpoint> {
  return SafetensorsFile.with(path, async (file) => {
    const { format, state } = file.header.metadata;
    if (/^atento-checkpoint-\d+$/.test(format ?? "") && format !== FORMAT) {
      throw new UserError(`${path}: no checkpoint of this version (${FORMAT}) but ${format}`);
    }
    await file.expectSealed();
    return { state: parseState(path, state), weights: await readWeights(file, variables) };
  });
}

function parseState(path: string, text: string | undefined): TrainState {
  try {
    return trainStateSchema.parse(JSON.parse(text ?? ""));
  } catch (error) {
    throw new DamagedFile(`${path}: the state in its metadata is not readable (${(error as Error).name})`);
  }
}
