import type { Graph } from "../compile/graph.ts";
import type { Engine, Executable, Store } from "../engine/engine.ts";
import { type BuiltModel, buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { unlessAborted } from "../train/abort.ts";
import type { Trained } from "../train/trained.ts";
import { writeWeights } from "../train/weights.ts";
import { defaultLayer, findLayer, mapLayers } from "./layers.ts";

/** Images a run of the engine, when there are so many. */
const BATCH = 64;
/** Of a run beside the weights: fewer images are taken where a network needs more. The same on every machine. */
const MOST_BYTES = 2 ** 30;

export type Network = Pick<Trained, "model" | "image" | "weights"> & { readonly classes: readonly unknown[] };

/** Draws the k-th of many images into [3,H,W]. */
export type Draw = (k: number, into: Float32Array) => void;

export const imageOf = (images: Float32Array, k: number, size: number) =>
  images.subarray(k * size, (k + 1) * size);

const logitsGraph = ({ logits }: BuiltModel): Graph => ({ outputs: { logits }, effects: [] });

/** A network open on an engine for evaluation: its programs, for as many images a run as memory allows. */
export class OpenNetwork {
  /** Layers that maps can be taken at, by name, with their shape [C,h,w]. */
  readonly layers: ReadonlyMap<string, Shape>;
  readonly defaultLayer: string;
  readonly classes: number;
  /** [height, width]. */
  readonly image: readonly [number, number];
  readonly #network: Network;
  readonly #variables: Variables;
  readonly #store: Store;
  readonly #built = new Map<number, BuiltModel>();
  readonly #programs = new Map<string, Executable>();

  /**
   * @param seed takes initial weights of this seed instead of the trained ones: for checks.
   * @throws NoMaps when no layer has more than one pixel.
   */
  constructor(network: Network, engine: Engine, seed?: number) {
    this.#network = network;
    this.#variables = new Variables(seed ?? 0);
    this.image = network.image;
    this.classes = network.classes.length;
    const layers = mapLayers(this.model(1));
    this.layers = new Map([...layers].map(([name, { shape }]) => [name, shape.slice(1)]));
    this.defaultLayer = defaultLayer(layers);
    const variables = this.#variables.all();
    // weights that are given need not be drawn first
    this.#store = engine.open(
      seed === undefined ? variables.map((variable) => ({ ...variable, initialize: () => {} })) : variables,
    );
    if (seed === undefined) writeWeights(this.#store, network.weights);
  }

  /** Values of an image. */
  get imageSize(): number {
    return 3 * this.image[0] * this.image[1];
  }

  close(): void {
    this.#store.close();
  }

  protected model(batch: number): BuiltModel {
    let built = this.#built.get(batch);
    if (!built) {
      const { model, image } = this.#network;
      built = buildModel(model, this.#variables, { batch, image, training: false });
      this.#built.set(batch, built);
    }
    return built;
  }

  /** @param key tells what `build` makes. */
  protected program(key: string, batch: number, build: (built: BuiltModel) => Graph): Executable {
    const name = `${batch} ${key}`;
    let program = this.#programs.get(name);
    if (!program) {
      program = this.#store.compile(build(this.model(batch)), { keepsWeights: true });
      this.#programs.set(name, program);
    }
    return program;
  }

  /** Images a run: at most so many that it stays within MOST_BYTES. */
  protected batchSize(images: number, programOf?: (n: number) => Executable): number {
    let n = Math.min(BATCH, images);
    while (programOf && n > 1 && programOf(n).scratchBytes > MOST_BYTES) n = Math.ceil(n / 2);
    return n;
  }

  /** Logits [count,K] of many images that are drawn when their turn comes. */
  async logits(count: number, draw: Draw, signal?: AbortSignal): Promise<Float32Array> {
    return this.many("logits", logitsGraph, "images", count, draw, signal);
  }

  /** Runs a graph with `logits` on many values of one input. @param image fed beside it, the same each time. */
  protected async many(
    key: string,
    build: (built: BuiltModel) => Graph,
    name: "images" | "activations",
    count: number,
    draw: Draw,
    signal?: AbortSignal,
    image?: Float32Array,
  ): Promise<Float32Array> {
    const all = new Float32Array(count * this.classes);
    if (count === 0) return all;
    const batch = this.batchSize(count, (n) => this.program(key, n, build));
    const program = this.program(key, batch, build);
    const shape = program.inputs.get(name);
    const fed = new Float32Array(shape ? sizeOf(shape) : 0);
    const feeds: Record<string, Float32Array> = shape ? { [name]: fed } : {};
    if (image && program.inputs.has("images")) {
      feeds["images"] = new Float32Array(batch * this.imageSize);
      for (let k = 0; k < batch; k++) feeds["images"].set(image, k * this.imageSize);
    }
    for (let first = 0; first < count; first += batch) {
      const n = Math.min(batch, count - first);
      for (let k = 0; k < n && shape; k++) draw(first + k, imageOf(fed, k, fed.length / batch));
      const { logits } = await unlessAborted(program.run(feeds), signal);
      all.set(logits.subarray(0, n * this.classes), first * this.classes);
    }
    return all;
  }

  /** Outputs of layers by name, [N,C,h,w] each. images [N,3,H,W]. */
  async outputs(
    images: Float32Array,
    names: readonly string[],
    signal?: AbortSignal,
  ): Promise<Map<string, { readonly shape: Shape; readonly values: Float32Array }>> {
    const count = images.length / this.imageSize;
    const found = new Map(
      names.map((name) => {
        const shape = [count, ...this.layers.get(name)!];
        return [name, { shape, values: new Float32Array(sizeOf(shape)) }];
      }),
    );
    const programOf = (n: number) =>
      this.program(`outputs ${names.join(" ")}`, n, ({ nn }) => ({
        outputs: Object.fromEntries(names.map((name) => [name, findLayer(nn.layers, name)])),
        effects: [],
      }));
    const batch = this.batchSize(count, programOf);
    for (let first = 0; first < count; first += batch) {
      const n = Math.min(batch, count - first);
      const part = images.subarray(first * this.imageSize, (first + n) * this.imageSize);
      const outputs = await unlessAborted(programOf(n).run({ images: part }), signal);
      for (const [name, { values }] of found) values.set(outputs[name], (first * values.length) / count);
    }
    return found;
  }
}
