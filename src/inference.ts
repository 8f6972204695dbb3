import { gradCamGraph } from "./cam/graphs.ts";
import { defaultLayer, findMapLayer, mapLayers } from "./cam/layers.ts";
import { finished } from "./cam/map.ts";
import type { Graph } from "./compile/graph.ts";
import { readImage } from "./data/decode.ts";
import { normalizationTable } from "./data/prepare.ts";
import { createEngine, type EngineOptions } from "./engine/create.ts";
import type { Executable, Store } from "./engine/engine.ts";
import type { Given } from "./exchange/format.ts";
import { loadModel } from "./exchange/formats.ts";
import { buildModel } from "./models/build.ts";
import { unknownName } from "./models/options.ts";
import { Variables } from "./nn/scope.ts";
import type { Trained } from "./train/trained.ts";

export { UserError } from "./tensor/errors.ts";

export interface Prediction {
  readonly name: string;
  readonly probability: number;
}

/** Where a class was seen: 0 to 1 for every pixel of the image as the model saw it. */
export interface HeatMap {
  readonly of: string;
  readonly layer: string;
  readonly height: number;
  readonly width: number;
  /** [height,width]. */
  readonly values: Float32Array;
}

export interface Classification {
  /** All classes, the most probable first. */
  readonly classes: readonly Prediction[];
  /** When it was asked for. */
  readonly map?: HeatMap;
}

export interface MapOptions {
  /** Layer to look at; the last that is no single pixel by default. */
  readonly layer?: string;
  /** Class to look for; the most probable by default. */
  readonly of?: string;
}

interface Look {
  readonly layer: string;
  /** Extents of the layer's map. */
  readonly extent: readonly [number, number];
  readonly program: Executable;
}

/**
 * A trained model that classifies images and shows where it looks (Grad-CAM), without anything that trains.
 * ```ts
 * const classifier = await Classifier.load("runs/quick/se/seed-1");
 * const { classes, map } = await classifier.classify("cat.jpg", { map: true });
 * ```
 */
export class Classifier {
  readonly #model: Trained;
  readonly #variables = new Variables(0);
  readonly #store: Store;
  readonly #programs = new Map<string, Look>();
  #plain: Executable | undefined;

  private constructor(model: Trained, options: EngineOptions) {
    this.#model = model;
    this.#build();
    const { weights } = model;
    // not drawn first: that takes longer than reading them
    this.#store = createEngine(options).open(
      this.#variables.all().map((variable) => ({
        ...variable,
        initialize: (values) => values.set(weights.get(variable.name)!),
      })),
    );
  }

  /**
   * @param path a run's folder, or a model file in any format that atento export writes.
   * @param options of the engine, and what a Keras file leaves open: classes, normalisation, image size.
   * @throws UserError when there is none, or listing the tensors that do not fit.
   */
  static async load(path: string, options: EngineOptions & Given = {}): Promise<Classifier> {
    return new Classifier(await loadModel(path, options), options);
  }

  get classes(): readonly string[] {
    return this.#model.classes;
  }

  /** Size [height, width] that images are brought to: scaled to cover it, and cut. */
  get image(): readonly [number, number] {
    return this.#model.image;
  }

  /**
   * @param image path of an image file, or its bytes. @param map whether to show where a class was seen.
   * @throws UserError when the image cannot be read, or there is no such class or layer.
   */
  async classify(
    image: string | Uint8Array,
    { map = false }: { readonly map?: boolean | MapOptions } = {},
  ): Promise<Classification> {
    const [height, width] = this.#model.image;
    const images = this.#normalized(await readImage(image, { height, width }));
    if (map === false) {
      this.#plain ??= this.#compile({ outputs: { logits: this.#build().logits }, effects: [] });
      return { classes: this.#predictions((await this.#plain.run({ images }))["logits"]) };
    }
    const options = map === true ? {} : map;
    const { layer, extent, program } = this.#look(options);
    const outputs = await program.run({ images, ...this.#target(options.of) });
    const classes = this.#predictions(outputs["logits"]);
    const values = finished(outputs["map"], ...extent, height, width);
    return { classes, map: { of: options.of ?? classes[0].name, layer, height, width, values } };
  }

  close(): void {
    this.#store.close();
  }

  #compile(graph: Graph): Executable {
    return this.#store.compile(graph, { keepsWeights: true });
  }

  #build() {
    const { model, image } = this.#model;
    return buildModel(model, this.#variables, { batch: 1, image, training: false });
  }

  /** The program that also gives the map of a layer, for the predicted class or one that is fed. */
  #look({ layer: asked, of }: MapOptions): Look {
    const key = JSON.stringify([asked, of !== undefined]);
    const known = this.#programs.get(key);
    if (known) return known;
    const built = this.#build();
    const layers = mapLayers(built);
    const layer = asked ?? defaultLayer(layers);
    const output = findMapLayer(layers, layer);
    const [, , h, w] = output.shape;
    const program = this.#compile(gradCamGraph(built, output, of === undefined ? "predicted" : "given"));
    const look: Look = { layer, extent: [h, w], program };
    this.#programs.set(key, look);
    return look;
  }

  #target(of: string | undefined): Record<string, Float32Array> {
    if (of === undefined) return {};
    const { classes } = this.#model;
    if (!classes.includes(of)) throw unknownName("class", of, classes);
    return { target: Float32Array.from(classes, (name) => Number(name === of)) };
  }

  /** [H,W,3] bytes as the values [1,3,H,W] that the model takes. */
  #normalized(pixels: Uint8Array): Float32Array {
    const table = normalizationTable(this.#model.normalization);
    const plane = pixels.length / 3;
    return Float32Array.from({ length: pixels.length }, (_, i) => {
      const channel = Math.floor(i / plane);
      return table[256 * channel + pixels[3 * (i % plane) + channel]];
    });
  }

  #predictions(logits: Float32Array): Prediction[] {
    const top = logits.reduce((a, b) => Math.max(a, b));
    const shares = Array.from(logits, (logit) => Math.exp(logit - top));
    const sum = shares.reduce((a, b) => a + b);
    return this.classes
      .map((name, k) => ({ name, probability: shares[k] / sum }))
      .sort((a, b) => b.probability - a.probability);
  }
}
