import { z } from "zod";
import { shorten } from "../../files/shorten.ts";
import { UserError } from "../../tensor/errors.ts";

/** Far beyond any model's. */
const MOST_BYTES = 10_000_000;
const MOST_LAYERS = 2000;

/** What a layer reads: the result of another layer's call. */
export interface Source {
  readonly layer: string;
  /** Which call, counted from 0. */
  readonly call: number;
}

export interface KerasLayer {
  /** As Keras names it: `Conv2D`. */
  readonly type: string;
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** What each call of it reads. */
  readonly calls: readonly (readonly Source[])[];
}

/** A functional or sequential model as `model_config` has it. */
export interface KerasModel {
  readonly name: string;
  readonly layers: readonly KerasLayer[];
  readonly inputs: readonly Source[];
  readonly outputs: readonly Source[];
}

const object = z.record(z.string(), z.unknown());
const layerSchema = z.looseObject({
  class_name: z.string(),
  name: z.string().optional(),
  config: z.union([object, z.array(z.unknown())]),
  inbound_nodes: z.array(z.unknown()).optional(),
});
const functionalSchema = z.looseObject({
  name: z.string().optional(),
  layers: z.array(z.unknown()).max(MOST_LAYERS),
  input_layers: z.unknown().optional(),
  output_layers: z.unknown().optional(),
});

/** The names under which Keras has kept models that are made of layers. */
export const MODEL_TYPES = ["Functional", "Model", "Sequential"];

/** Reads `model_config`. @throws UserError saying what is wrong with it. */
export function parseModel(text: string, where: string): KerasModel {
  if (text.length > MOST_BYTES) {
    throw new UserError(
      `${where}: model_config has ${text.length} letters, at most ${MOST_BYTES} are allowed`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where}: model_config is not JSON (${shorten((error as Error).message)})`);
  }
  const { class_name: type, config } = expect(layerSchema, json, `${where}: model_config`);
  return modelOf(type, config, `${where}: model_config`);
}

/** A model, or one inside another. */
export function modelOf(type: string, given: unknown, where: string): KerasModel {
  if (!MODEL_TYPES.includes(type)) {
    throw new UserError(
      `${where}: is a ${shorten(type)}, expected a functional or sequential model: save it with its graph of layers`,
    );
  }
  // Keras before 2.2.3 kept a sequential model as the list of its layers
  const config = Array.isArray(given) ? { layers: given } : given;
  const { name = "model", layers, ...rest } = expect(functionalSchema, config, where);
  const parsed = layers.map((layer, k) => readLayer(layer, `${where}: layer ${k + 1}`));
  if (type === "Sequential") return { name, ...inSequence(parsed) };
  return {
    name,
    layers: parsed,
    inputs: sourcesOf(rest.input_layers, where),
    outputs: sourcesOf(rest.output_layers, where),
  };
}

function expect<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new UserError(`${where}: ${shorten(`${path.join(".")}: ${message}`)}`);
}

function readLayer(given: unknown, where: string): KerasLayer {
  const { class_name: type, config, inbound_nodes: nodes = [], ...rest } = expect(layerSchema, given, where);
  const own = Array.isArray(config) ? { layers: config } : config;
  const name = rest.name ?? own["name"];
  if (typeof name !== "string") throw new UserError(`${where}: has no name`);
  return {
    type,
    name,
    config: own,
    calls: nodes.map((node) => sourcesOf(node, `${where} ${shorten(name)}`)),
  };
}

/** Each layer reads the one before it; a first layer may say itself what is fed. */
function inSequence(layers: readonly KerasLayer[]): Omit<KerasModel, "name"> {
  const [first] = layers;
  const shape = first?.config["batch_input_shape"] ?? first?.config["batch_shape"];
  const fed: KerasLayer =
    first?.type === "InputLayer"
      ? first
      : { type: "InputLayer", name: "input", config: { batch_shape: shape }, calls: [] };
  const rest = layers.slice(first === fed ? 1 : 0);
  const at = (layer: KerasLayer) => ({ layer: layer.name, call: 0 });
  const all = [fed, ...rest.map((layer, k) => ({ ...layer, calls: [[at(k === 0 ? fed : rest[k - 1])]] }))];
  return { layers: all, inputs: [at(fed)], outputs: [at(all[all.length - 1])] };
}

/** How deep lists and arguments may lie in each other. */
const DEEPEST = 8;

/**
 * Tensors of a node, of the model's inputs or outputs: `[name, call, tensor]` or `[name, call, tensor, {…}]` in
 * tf.keras 2, objects with `keras_history` in Keras 3.
 */
function sourcesOf(node: unknown, where: string, depth = 0): Source[] {
  if (depth > DEEPEST) throw new UserError(`${where}: its inputs lie too deep in each other`);
  if (node === null || node === undefined) return [];
  if (Array.isArray(node)) {
    const [layer, call, tensor, given] = node;
    if (typeof layer !== "string") return node.flatMap((part) => sourcesOf(part, where, depth + 1));
    if (!Number.isInteger(call) || tensor !== 0) {
      throw new UserError(`${where}: reads ${shorten(JSON.stringify(node))}, expected one result of a layer`);
    }
    expectInference(given, where);
    return [{ layer, call }];
  }
  if (typeof node === "object" && "args" in node) {
    expectInference((node as { kwargs?: unknown }).kwargs, where);
    return sourcesOf(node.args, where, depth + 1);
  }
  const { class_name: type, config } = node as { class_name?: unknown; config?: { keras_history?: unknown } };
  // a number, say: `x * 2` has become a layer that reads one
  if (type !== "__keras_tensor__") {
    throw new UserError(`${where}: reads ${shorten(JSON.stringify(node))}, expected results of layers`);
  }
  return sourcesOf(config?.keras_history, where, depth + 1);
}

function expectInference(given: unknown, where: string): void {
  if ((given as { training?: unknown } | null | undefined)?.training !== true) return;
  throw new UserError(`${where}: is called with training=True, which inference has not`);
}
