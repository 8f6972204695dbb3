import type { Options } from "../attention/spec.ts";
import type { Graph } from "../compile/graph.ts";
import type { Engine, Executable, Store } from "../engine/engine.ts";
import { type BuiltModel, buildModel } from "../models/build.ts";
import { Variables } from "../nn/scope.ts";
import { Random } from "../random/random.ts";
import { UserError } from "../tensor/errors.ts";
import { type Shape, sizeOf, type Tensor } from "../tensor/tensor.ts";
import { unlessAborted } from "../train/abort.ts";
import type { Trained } from "../train/trained.ts";
import { writeWeights } from "../train/weights.ts";
import { mapGraph, tailGraph } from "./graphs.ts";
import { defaultLayer, findLayer, layersThatWork, mapLayers } from "./layers.ts";
import type { CamMethod, MapMethod, RescoredLayer, WeighMethod } from "./spec.ts";

/** Images a run of the engine, when there are so many. */
const BATCH = 64;

/** Which score of an image is explained: the logit of a class, or what it has more than another. */
export interface ClassTarget {
  readonly class: number;
  readonly against?: number;
}

export interface MapsRequest {
  /** Normalised, [N,3,H,W]. */
  readonly images: Float32Array;
  readonly methods: readonly { readonly method: CamMethod; readonly options?: Options }[];
  /** Names; the last stage with more than one pixel when absent. */
  readonly layers?: readonly string[];
  /** One an image; the predicted class when absent. */
  readonly targets?: readonly ClassTarget[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Maps of one method at one layer, as computed: with their signs, of the layer's size. */
export interface RawMaps {
  readonly method: CamMethod;
  /** `image` for methods whose map is of the pixels themselves. */
  readonly layer: string;
  readonly height: number;
  readonly width: number;
  /** [N,h,w]. */
  readonly values: Float32Array;
}

export interface Maps {
  readonly count: number;
  /** [N,K]. */
  readonly logits: Float32Array;
  readonly targets: readonly ClassTarget[];
  /** Every method at every layer. */
  readonly maps: readonly RawMaps[];
  /** What people should know of these maps, a line each. */
  readonly notes: readonly string[];
}

/** Draws the k-th of many images into [3,H,W]. */
export type Draw = (k: number, into: Float32Array) => void;

type Network = Pick<Trained, "model" | "image" | "weights"> & { readonly classes: readonly unknown[] };

/** A trained network open on an engine, to ask it where it looks. */
export class Explainer {
  /** Layers that maps can be taken at, by name, with their shape [C,h,w]. */
  readonly layers: ReadonlyMap<string, Shape>;
  readonly defaultLayer: string;
  readonly classes: number;
  readonly image: readonly [number, number];
  readonly #network: Network;
  readonly #variables: Variables;
  readonly #store: Store;
  readonly #built = new Map<number, BuiltModel>();
  readonly #programs = new Map<string, Executable>();

  /**
   * @param seed takes initial weights of this seed instead of the trained ones: for checks.
   * @throws UserError when no layer has more than one pixel.
   */
  constructor(network: Network, engine: Engine, seed?: number) {
    this.#network = network;
    this.#variables = new Variables(seed ?? 0);
    this.image = network.image;
    this.classes = network.classes.length;
    const layers = mapLayers(this.#model(1));
    this.layers = new Map([...layers].map(([name, { shape }]) => [name, shape.slice(1)]));
    this.defaultLayer = defaultLayer(layers);
    const variables = this.#variables.all();
    // weights that are given need not be drawn first
    this.#store = engine.open(
      seed === undefined ? variables.map((variable) => ({ ...variable, initialize: () => {} })) : variables,
    );
    if (seed === undefined) writeWeights(this.#store, network.weights);
  }

  get imageSize(): number {
    return 3 * this.image[0] * this.image[1];
  }

  close(): void {
    this.#store.close();
  }

  #model(batch: number): BuiltModel {
    let built = this.#built.get(batch);
    if (!built) {
      const { model, image } = this.#network;
      built = buildModel(model, this.#variables, { batch, image, training: false });
      this.#built.set(batch, built);
    }
    return built;
  }

  #program(key: string, batch: number, build: (built: BuiltModel) => Graph): Executable {
    const name = `${batch} ${key}`;
    let program = this.#programs.get(name);
    if (!program) {
      program = this.#store.compile(build(this.#model(batch)));
      this.#programs.set(name, program);
    }
    return program;
  }

  /**
   * Raw maps of images, in few runs of the engine.
   * @throws UserError for a layer that does not exist, or targets that do not fit the classes.
   */
  async maps({ images, methods, layers, targets, signal, onProgress }: MapsRequest): Promise<Maps> {
    const count = images.length / this.imageSize;
    if (!Number.isInteger(count)) throw new UserError(`images: ${images.length} values are no images`);
    if (targets && targets.length !== count)
      throw new UserError(`${targets.length} targets for ${count} images`);
    for (const target of targets ?? []) this.#expectClass(target);
    const names = layers ?? [this.defaultLayer];
    const plan = this.#plan(methods, names);
    const logits = new Float32Array(count * this.classes);
    const chosen: ClassTarget[] = [];
    for (let first = 0; first < count; first += BATCH) {
      const n = Math.min(BATCH, count - first);
      const part = images.subarray(first * this.imageSize, (first + n) * this.imageSize);
      const own = targets?.slice(first, first + n);
      const result = await this.#batch(part, n, plan, own, signal);
      logits.set(result.logits, first * this.classes);
      chosen.push(...result.targets);
      onProgress?.(first + n, count);
    }
    const maps = plan.map(({ method, layer, height, width, values }) => {
      const whole = new Float32Array(count * height * width);
      values.forEach((value, k) => {
        whole.set(value, k * height * width);
      });
      return { method, layer, height, width, values: whole };
    });
    return { count, logits, targets: chosen, maps, notes: this.#notes(maps, count) };
  }

  #expectClass({ class: own, against }: ClassTarget): void {
    for (const index of against === undefined ? [own] : [own, against]) {
      if (Number.isInteger(index) && index >= 0 && index < this.classes) continue;
      throw new UserError(`class ${index}: the model has classes 0 to ${this.classes - 1}`);
    }
  }

  #plan(methods: MapsRequest["methods"], names: readonly string[]): Member[] {
    const layers = mapLayers(this.#model(1));
    return methods.flatMap(({ method, options = {} }) => {
      const places =
        !isWeigh(method) && method.atImages
          ? [{ layer: "image", shape: [1, 3, ...this.image] }]
          : names.map((layer) => ({ layer, shape: findLayer(layers, layer).shape }));
      return places.map(({ layer, shape }) => ({
        method,
        options: { ...method.options, ...options },
        layer,
        channels: shape[1],
        height: shape[2],
        width: shape[3],
        values: [],
      }));
    });
  }

  /** Maps of one batch, added to the plan's values. */
  async #batch(
    images: Float32Array,
    n: number,
    plan: readonly Member[],
    given: readonly ClassTarget[] | undefined,
    signal?: AbortSignal,
  ): Promise<{ logits: Float32Array; targets: readonly ClassTarget[] }> {
    let [logits, targets]: [Float32Array | undefined, typeof given] = [undefined, given];
    const decide = async () => {
      logits ??= await this.logits(n, (k, into) => into.set(imageOf(images, k, this.imageSize)), signal);
      targets ??= predictedTargets(logits, n).targets;
      return { logits, targets };
    };
    for (const member of plan) {
      const { method, values } = member;
      if (isWeigh(method)) {
        const known = await decide();
        for (let k = 0; k < n; k++) {
          const image = imageOf(images, k, this.imageSize);
          const own = { image, logits: imageOf(known.logits, k, this.classes), target: known.targets[k] };
          values.push(await this.#weighted(method, member, own, signal));
        }
        continue;
      }
      const copies = method.copies?.(member.options);
      if (copies) {
        const known = await decide(); // the class is that of the image itself, not of a noisy copy
        const sum = new Float32Array(n * member.channels * member.height * member.width);
        for (let copy = 0; copy < copies.count; copy++) {
          const fed = noisy(images, n, copies.noise, copy);
          const { map } = await this.#run(member, method, fed, n, known.targets, signal);
          for (let i = 0; i < sum.length; i++) sum[i] += map[i] / copies.count;
        }
        values.push(...reduced(method, member, sum, n));
        continue;
      }
      let result = await this.#run(member, method, images, n, targets, signal);
      logits ??= result.logits;
      if (!targets) {
        const found = predictedTargets(result.logits, n);
        targets = found.targets;
        // several classes were explained at once where their logits are equal
        if (found.tied) result = await this.#run(member, method, images, n, targets, signal);
      }
      values.push(...reduced(method, member, result.map, n));
    }
    return decide();
  }

  /**
   * One graph a method: what it returns, and the logits.
   * @param targets the predicted classes when absent, in the same run.
   */
  async #run(
    { layer, options }: Member,
    method: MapMethod,
    images: Float32Array,
    n: number,
    targets: readonly ClassTarget[] | undefined,
    signal?: AbortSignal,
  ): Promise<{ readonly map: Float32Array; readonly logits: Float32Array }> {
    const explained = targets ? "given" : "predicted";
    const key = JSON.stringify([explained, method.name, layer, options]);
    const program = this.#program(key, n, (built) => {
      const at = layer === "image" ? built.images : findLayer(built.nn.layers, layer);
      return mapGraph(built, { method, options, layer: at }, explained);
    });
    const feeds: Record<string, Float32Array> = { images };
    if (program.inputs.has("target")) feeds["target"] = this.#seeds(targets!);
    const { map, logits } = await unlessAborted(program.run(feeds), signal);
    return { map, logits };
  }

  #seeds(targets: readonly ClassTarget[]): Float32Array {
    const seeds = new Float32Array(targets.length * this.classes);
    targets.forEach(({ class: own, against }, k) => {
      seeds[k * this.classes + own] += 1;
      if (against !== undefined) seeds[k * this.classes + against] -= 1;
    });
    return seeds;
  }

  async #weighted(
    method: WeighMethod,
    { layer, options, channels, height, width }: Member,
    { image, logits, target }: { image: Float32Array; logits: Float32Array; target: ClassTarget },
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const program = this.#program(`layer ${layer}`, 1, ({ nn }) => ({
      outputs: { activations: nn.layers.get(layer)! },
      effects: [],
    }));
    const { activations } = await unlessAborted(program.run({ images: image }), signal);
    const score = (all: Float32Array, k: number) => scoreOf(all, k * this.classes, target);
    const at: RescoredLayer = {
      ...{ activations, channels, height, width, image: this.image, score: score(logits, 0) },
      rescoreImages: async (count, change) => {
        const changed: Draw = (k, into) => {
          into.set(image);
          change(k, into);
        };
        const all = await this.logits(count, changed, signal);
        return Float32Array.from({ length: count }, (_, k) => score(all, k));
      },
      rescore: async (count, change) => {
        const changed: Draw = (k, into) => {
          into.set(activations);
          change(k, into);
        };
        const build = (built: BuiltModel) => tailGraph(built, findLayer(built.nn.layers, layer));
        const all = await this.#many(`tail ${layer}`, build, "activations", count, changed, signal, image);
        return Float32Array.from({ length: count }, (_, k) => score(all, k));
      },
    };
    const weights = await method.weigh(at, options);
    const map = new Float32Array(height * width);
    activations.forEach((value, i) => {
      map[i % map.length] += weights[Math.floor(i / map.length)] * value;
    });
    return map;
  }

  /** Logits [count,K] of many images that are drawn when their turn comes. */
  async logits(count: number, draw: Draw, signal?: AbortSignal): Promise<Float32Array> {
    const build = ({ logits }: BuiltModel): Graph => ({ outputs: { logits }, effects: [] });
    return this.#many("logits", build, "images", count, draw, signal);
  }

  /** Runs a graph with `logits` on many values of one input. @param image fed beside it, the same each time. */
  async #many(
    key: string,
    build: (built: BuiltModel) => Graph,
    name: "images" | "activations",
    count: number,
    draw: Draw,
    signal?: AbortSignal,
    image?: Float32Array,
  ): Promise<Float32Array> {
    const batch = Math.min(BATCH, count);
    const all = new Float32Array(count * this.classes);
    if (count === 0) return all;
    const program = this.#program(key, batch, build);
    const shape = program.inputs.get(name);
    const fed = new Float32Array(shape ? sizeOf(shape) : 0);
    const feeds: Record<string, Float32Array> = shape ? { [name]: fed } : {};
    if (image && program.inputs.has("images")) {
      feeds["images"] = new Float32Array(batch * this.imageSize);
      for (let k = 0; k < batch; k++) feeds["images"].set(image, k * this.imageSize);
    }
    const size = fed.length / batch;
    for (let first = 0; first < count; first += batch) {
      const n = Math.min(batch, count - first);
      for (let k = 0; k < n && shape; k++) draw(first + k, fed.subarray(k * size, (k + 1) * size));
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
    for (let first = 0; first < count; first += BATCH) {
      const n = Math.min(BATCH, count - first);
      const program = this.#program(`outputs ${names.join(" ")}`, n, ({ nn }) => ({
        outputs: Object.fromEntries(names.map((name) => [name, findLayer(nn.layers, name)])),
        effects: [],
      }));
      const part = images.subarray(first * this.imageSize, (first + n) * this.imageSize);
      const outputs = await unlessAborted(program.run({ images: part }), signal);
      for (const [name, { values }] of found) values.set(outputs[name], (first * values.length) / count);
    }
    return found;
  }

  #notes(maps: readonly RawMaps[], count: number): string[] {
    const layers: ReadonlyMap<string, Tensor> = mapLayers(this.#model(1));
    const single = new Set(
      maps.filter(({ height, width }) => height * width === 1).map(({ layer }) => layer),
    );
    const notes = [...single].map((layer) => {
      const [h, w] = this.image;
      return `${layer} is 1×1 for images of ${h}×${w}: its maps say nothing of places; there are ${layersThatWork(layers)}`;
    });
    for (const { method, layer, height, width, values } of maps) {
      const size = height * width;
      let zero = 0;
      for (let k = 0; k < count; k++) {
        if (!values.subarray(k * size, (k + 1) * size).some((value) => value > 0)) zero++;
      }
      if (zero === 0 || single.has(layer)) continue;
      const which = count === 1 ? "the map is" : `${zero} of ${count} maps are`;
      notes.push(
        `${method.name} at ${layer}: ${which} 0 throughout, nothing there speaks for the class: take another method or layer, such as ${layersThatWork(layers)}`,
      );
    }
    return notes;
  }
}

/** A method at a layer, and its maps so far, one an image. */
interface Member {
  readonly method: CamMethod;
  readonly options: Options;
  readonly layer: string;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly values: Float32Array[];
}

const isWeigh = (method: CamMethod): method is WeighMethod => "weigh" in method;

const imageOf = (images: Float32Array, k: number, size: number) => images.subarray(k * size, (k + 1) * size);

/** What a graph returned, image by image, brought to one channel. */
function reduced(
  method: MapMethod,
  { channels, height, width }: Member,
  values: Float32Array,
  n: number,
): Float32Array[] {
  const size = values.length / n;
  return Array.from({ length: n }, (_, k) => {
    const own = values.slice(k * size, (k + 1) * size);
    return method.reduce ? method.reduce({ values: own, channels, pixels: height * width }) : own;
  });
}

/** The largest logit of each image, the first of equals; `tied` when there were equals. */
function predictedTargets(logits: Float32Array, n: number) {
  const classes = logits.length / n;
  let tied = false;
  const targets = Array.from({ length: n }, (_, k): ClassTarget => {
    const row = logits.subarray(k * classes, (k + 1) * classes);
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const first = Math.max(0, row.indexOf(top));
    tied ||= row.indexOf(top, first + 1) >= 0;
    return { class: first };
  });
  return { targets, tied };
}

/** The logit of the class, less that of the class it is held against. */
const scoreOf = (logits: Float32Array, at: number, { class: own, against }: ClassTarget) =>
  logits[at + own] - (against === undefined ? 0 : logits[at + against]);

/** The copy-th noisy version of each image; the noise is the same for every image of a batch, whatever its place. */
function noisy(images: Float32Array, n: number, noise: number, copy: number): Float32Array {
  const size = images.length / n;
  const random = new Random("smooth-grad", copy);
  const pattern = Float32Array.from({ length: size }, () => random.normal());
  const out = new Float32Array(images.length);
  for (let k = 0; k < n; k++) {
    const image = imageOf(images, k, size);
    let [low, high] = [image[0], image[0]];
    for (const value of image) [low, high] = [Math.min(low, value), Math.max(high, value)];
    for (let i = 0; i < size; i++) out[k * size + i] = image[i] + noise * (high - low) * pattern[i];
  }
  return out;
}
