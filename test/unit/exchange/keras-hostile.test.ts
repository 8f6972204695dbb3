import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseModel } from "../../../src/exchange/keras/config.ts";
import { graphOf } from "../../../src/exchange/keras/graph.ts";
import { readKeras, readKerasWeights } from "../../../src/exchange/keras/read.ts";
import { writeKeras } from "../../../src/exchange/keras/write.ts";
import { type NewGroup, writeHdf5 as write } from "../../../src/formats/hdf5-write.ts";
import { UserError } from "../../../src/tensor/errors.ts";
import { type Trained, variablesOf } from "../../../src/train/trained.ts";
import { madeUpSmall } from "../../support/trained.ts";

const folder = mkdtempSync(join(tmpdir(), "atento-keras-hostile-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

async function writeHdf5(root: NewGroup): Promise<Uint8Array> {
  await write(at("made.h5"), root);
  return readFileSync(at("made.h5"));
}

let trained: Trained;
let whole: Buffer;
beforeAll(async () => {
  trained = madeUpSmall({ depths: [1], widths: [4], strides: [1] });
  await writeKeras(trained, at("whole.h5"), { weightsOnly: false });
  whole = readFileSync(at("whole.h5"));
});

async function refusal(job: () => unknown): Promise<string> {
  try {
    await job();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  }
  return expect.unreachable("it should have been refused");
}

function refused(bytes: Uint8Array): Promise<string> {
  writeFileSync(at("bad.h5"), bytes);
  return refusal(() => readKeras(at("bad.h5")));
}

describe("a .h5 is refused that", () => {
  test("is not there", async () => {
    expect(await refusal(() => readKeras(at("none.h5")))).toContain("cannot be read");
  });

  test.each([0, 7, 100])("has only %i bytes of something else", async (length) => {
    expect(await refused(new Uint8Array(length))).toContain("its first bytes are not those of HDF5");
  });

  test("is cut off", async () => {
    for (const share of [0.1, 0.5, 0.9, 0.99]) {
      expect(await refused(whole.subarray(0, Math.floor(whole.length * share)))).toContain("bad.h5");
    }
  });

  test("holds weights only", async () => {
    await writeKeras(trained, at("weights.h5"), { weightsOnly: true });
    expect(await refusal(() => readKeras(at("weights.h5")))).toContain("are these weights only?");
  });

  test("has a model_config beyond measure", async () => {
    const bytes = await writeHdf5({ attributes: { model_config: "[".repeat(10_000_001) } });
    expect(await refused(bytes)).toContain("at most 10000000 are allowed");
  });

  test("has a model_config that is no JSON", async () => {
    expect(await refused(await writeHdf5({ attributes: { model_config: "{" } }))).toContain("is not JSON");
  });
});

/** A layer's weights as Keras keeps them. */
const layer = (name: string, shapes: Readonly<Record<string, readonly number[]>>): [string, NewGroup] => [
  name,
  {
    attributes: { weight_names: Object.keys(shapes).map((key) => `${name}/${key}:0`) },
    datasets: new Map(
      Object.entries(shapes).map(([key, shape]) => [
        `${name}/${key}:0`,
        key.startsWith("int")
          ? { shape, values: new BigInt64Array(shape.reduce((a, b) => a * b, 1)) }
          : { shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
      ]),
    ),
  },
];

const inbound = (name: string) => [[[name, 0, 0, {}]]];
const model = (...layers: readonly (readonly [string, string, object])[]) =>
  JSON.stringify({
    class_name: "Functional",
    config: {
      name: "m",
      layers: [
        {
          class_name: "InputLayer",
          name: "in",
          config: { name: "in", batch_input_shape: [null, 8, 8, 3] },
          inbound_nodes: [],
        },
        ...layers.map(([type, name, config], k) => ({
          ...{ class_name: type, name, config: { name, ...config } },
          inbound_nodes: inbound(k === 0 ? "in" : layers[k - 1][1]),
        })),
      ],
      input_layers: [["in", 0, 0]],
      output_layers: [[layers[layers.length - 1][1], 0, 0]],
    },
  });

const small = model(
  ["Conv2D", "c", { filters: 4, kernel_size: [3, 3] }],
  ["GlobalAveragePooling2D", "g", {}],
  ["Dense", "d", { units: 2, activation: "softmax" }],
);

/** The small model, its first layer's call written otherwise. */
function called(change: (node: object[]) => unknown, type = "Conv2D"): string {
  const json = JSON.parse(small);
  const first = json.config.layers[1];
  first.class_name = type;
  first.inbound_nodes = [change(first.inbound_nodes[0])];
  return JSON.stringify(json);
}

describe("a graph is refused, not read as another, whose layers", () => {
  const tensor = { class_name: "__keras_tensor__", config: { keras_history: ["in", 0, 0] } };
  const read = (text: string) => refusal(() => graphOf(parseModel(text, "m.h5"), "m.h5"));

  test.each([0.2, true, "relu"])(
    "read %j beside results of layers, as x * 0.2 does in Keras 3",
    async (value) => {
      const text = called(() => ({ args: [tensor, value], kwargs: {} }), "Multiply");
      expect(await read(text)).toContain(
        `layer 2 c: reads ${JSON.stringify(value)}, expected results of layers`,
      );
    },
  );

  test("are called with training=True, in either Keras", async () => {
    const says = "layer 2 c: is called with training=True";
    expect(await read(called(() => [["in", 0, 0, { training: true }]]))).toContain(says);
    expect(await read(called(() => ({ args: [tensor], kwargs: { training: true } })))).toContain(says);
    const usual = called(() => ({ args: [tensor], kwargs: { training: false, mask: null } }));
    expect(graphOf(parseModel(usual, "m.h5"), "m.h5").model.layers.length).toBeGreaterThan(2);
  });

  test("average along an axis, or flatten channels first", async () => {
    expect(await read(model(["Average", "a", { axis: 1 }]))).toContain("axis is 1");
    expect(await read(model(["Flatten", "f", { data_format: "channels_first" }]))).toContain(
      "channels_first",
    );
  });

  test("are too many", async () => {
    const many = Array.from(
      { length: 2001 },
      (_, k) => ["Activation", `a${k}`, { activation: "relu" }] as const,
    );
    expect(await read(model(...many))).toContain("m.h5: model_config: layers: ");
  });
});

async function file(...layers: readonly [string, NewGroup][]): Promise<Uint8Array> {
  const group: NewGroup = {
    attributes: { layer_names: layers.map(([name]) => name) },
    groups: new Map(layers),
  };
  return writeHdf5({ attributes: { model_config: small }, groups: new Map([["model_weights", group]]) });
}

const dense = layer("d", { kernel: [4, 2], bias: [2] });
const conv = layer("c", { kernel: [3, 3, 3, 4], bias: [4] });

test("a .h5 that cannot be written is told by its path, and leaves nothing behind", async () => {
  const message = await refusal(() => writeKeras(trained, at("no/such/folder.h5"), { weightsOnly: false }));
  expect(message).toContain("folder.h5: cannot be written: the folder is not there");
  expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

describe("tensors that do not fit are listed", () => {
  test("none where all are as they should be", async () => {
    writeFileSync(at("good.h5"), await file(conv, dense));
    expect([...(await readKeras(at("good.h5"))).weights.keys()]).toEqual([
      "c.weight",
      "c.bias",
      "d.weight",
      "d.bias",
    ]);
  });

  test("missing, misshapen, unexpected and of another type, all of them", async () => {
    const bytes = await file(
      layer("c", { kernel: [3, 3, 4, 3], other: [1] }),
      layer("x", { kernel: [1] }),
      layer("d", { bias: [2] }),
    );
    const message = await refused(bytes);
    for (const problem of [
      "c/kernel has shape [3,3,4,3], expected [3,3,3,4]",
      "c/bias is missing",
      "c/other is unexpected",
      "d/kernel is missing",
      "x is unexpected",
    ]) {
      expect(message).toContain(problem);
    }
  });

  test("whole numbers for a kernel", async () => {
    const [name, group] = layer("d", { int: [4, 2], bias: [2] });
    const renamed: NewGroup = {
      attributes: { weight_names: ["d/kernel:0", "d/bias:0"] },
      datasets: new Map([...group.datasets!].map(([key, value]) => [key.replace("int", "kernel"), value])),
    };
    expect(await refused(await file(conv, [name, renamed]))).toContain(
      "d/kernel holds int64, expected floats",
    );
  });

  test("a layer without its group", async () => {
    const bytes = await writeHdf5({
      attributes: { model_config: small },
      groups: new Map([["model_weights", { attributes: { layer_names: ["c", "d"] } }]]),
    });
    expect(await refused(bytes)).toContain("layer_names has c, but there is no such group");
  });

  test("weights of another model", async () => {
    writeFileSync(at("other.h5"), await file(conv, dense));
    const message = await refusal(() => readKerasWeights(at("other.h5"), trained));
    expect(message).toContain("it has 2 layers with weights, the model");
  });
});

describe("of models inside the model", () => {
  const config = (text: string) => JSON.parse(text).config;
  const part = (filters: number) => config(model(["Conv2D", "c", { filters, kernel_size: 1 }]));
  const inside = model(["Functional", "a", part(3)], ["Functional", "b", part(3)]);
  const nested = model(
    ["Functional", "outer", config(inside)],
    ["GlobalAveragePooling2D", "g", {}],
    ["Dense", "d", { units: 2 }],
  );

  async function fileOf(outer: readonly string[]): Promise<Uint8Array> {
    const datasets = new Map(
      outer.map((path, k) => {
        const shape = path.endsWith("kernel") ? [1, 1, 3, 3] : [3];
        return [path, { shape, values: new Float32Array(shape.reduce((a, b) => a * b)).fill(k + 1) }];
      }),
    );
    const groups = new Map([
      ["outer", { attributes: { weight_names: outer }, datasets }],
      layer("d", { kernel: [3, 2], bias: [2] }),
    ]);
    const group: NewGroup = { attributes: { layer_names: ["outer", "d"] }, groups };
    return writeHdf5({ attributes: { model_config: nested }, groups: new Map([["model_weights", group]]) });
  }
  const own = ["a/c/kernel", "a/c/bias", "b/c/kernel", "b/c/bias"];

  test("each layer has the weights whose path is its own, whole model or weights only", async () => {
    writeFileSync(at("nested.h5"), await fileOf(own));
    const read = await readKeras(at("nested.h5"));
    const first = new Map([...read.weights].map(([name, values]) => [name, values[0]]));
    const expected = {
      "outer.a.c.weight": 1,
      "outer.a.c.bias": 2,
      "outer.b.c.weight": 3,
      "outer.b.c.bias": 4,
    };
    expect(Object.fromEntries(first)).toEqual({ ...expected, "d.weight": 0, "d.bias": 0 });
    const empty = new Map([...read.weights].map(([name, values]) => [name, values.map(() => 9)]));
    expect(await readKerasWeights(at("nested.h5"), { ...read, weights: empty })).toEqual(read);
  });

  test("a tensor that is no layer's is unexpected", async () => {
    expect(await refused(await fileOf([...own, "x/kernel"]))).toContain("outer/x/kernel is unexpected");
    const twice = await refused(await fileOf([...own, "y/a/c/kernel"]));
    expect(twice).toContain("outer/y/a/c/kernel is unexpected");
  });

  test("a path that could be of two layers is of neither", async () => {
    const message = await refused(await fileOf(["c/kernel", "c/bias"]));
    for (const problem of ["outer.a.c is missing", "outer.b.c is missing", "outer/c/kernel is unexpected"]) {
      expect(message).toContain(problem);
    }
  });

  test("Keras 3 weights of models under other names are not taken by their order", async () => {
    const vars = (name: string, group: NewGroup): NewGroup => ({
      groups: new Map([["vars", { attributes: { name }, ...group }]]),
    });
    const kernel = { shape: [1, 1, 3, 3], values: new Float32Array(9) };
    const conv = vars("c", {
      datasets: new Map([
        ["0", kernel],
        ["1", { shape: [3], values: new Float32Array(3) }],
      ]),
    });
    const functional = (name: string, below: [string, NewGroup][]): NewGroup => ({
      groups: new Map([...vars(name, {}).groups!, ["layers", { groups: new Map(below) }]]),
    });
    const head = vars("d", {
      datasets: new Map([
        ["0", { shape: [3, 2], values: new Float32Array(6) }],
        ["1", { shape: [2], values: new Float32Array(2) }],
      ]),
    });
    const keras3 = (inner: string) =>
      writeHdf5({
        groups: new Map([
          [
            "layers",
            {
              groups: new Map([
                ["dense", head],
                [
                  "functional",
                  functional("outer", [
                    ["functional", functional("a", [["conv2d", conv]])],
                    ["functional_1", functional(inner, [["conv2d", conv]])],
                  ]),
                ],
              ]),
            },
          ],
        ]),
      });
    writeFileSync(at("into.h5"), await fileOf(own));
    const into = await readKeras(at("into.h5"));
    writeFileSync(at("alike.weights.h5"), await keras3("b"));
    const zeros = new Map([...into.weights].map(([name, values]) => [name, values.map(() => 0)]));
    expect((await readKerasWeights(at("alike.weights.h5"), into)).weights).toEqual(zeros);
    writeFileSync(at("others.weights.h5"), await keras3("z"));
    const message = await refusal(() => readKerasWeights(at("others.weights.h5"), into));
    expect(message).toContain("missing are outer.b.c");
  });

  // as tf-keras writes them: the groups' names are numbers, not the layers' own names
  test("numbered weights are taken by their order, unless it is spread over several models", async () => {
    const vars = (...shapes: number[][]): NewGroup => ({
      groups: new Map([
        [
          "vars",
          {
            datasets: new Map(
              shapes.map((shape, k) => [
                `${k}`,
                { shape, values: new Float32Array(shape.reduce((a, b) => a * b)).fill(shape.length) },
              ]),
            ),
          },
        ],
      ]),
    });
    const conv = vars([1, 1, 3, 3], [3]);
    const inside = (...below: [string, NewGroup][]): NewGroup => ({
      groups: new Map([["layers", { groups: new Map(below) }]]),
    });
    const whole = (outer: NewGroup) => writeHdf5(inside(["dense", vars([3, 2], [2])], ["functional", outer]));
    const graph = async (text: string, name: string) => {
      const { model, image } = graphOf(parseModel(text, name), name);
      const weights = new Map(
        variablesOf({ model, image }).map(({ name, shape }) => [
          name,
          new Float32Array(shape.reduce((a, b) => a * b)),
        ]),
      );
      return { ...trained, model, image, weights };
    };
    const one = model(
      ["Functional", "outer", config(model(["Conv2D", "dense", { filters: 3, kernel_size: 1 }]))],
      ["GlobalAveragePooling2D", "g", {}],
      ["Dense", "conv2d", { units: 2 }],
    );
    writeFileSync(at("numbered.weights.h5"), await whole(inside(["conv2d", conv])));
    const { weights } = await readKerasWeights(at("numbered.weights.h5"), await graph(one, "one"));
    expect(Object.fromEntries([...weights].map(([name, values]) => [name, values[0]]))).toEqual({
      "outer.dense.weight": 4,
      "outer.dense.bias": 1,
      "conv2d.weight": 2,
      "conv2d.bias": 1,
    });
    const spread = inside(
      ["functional", inside(["conv2d", conv])],
      ["functional_1", inside(["conv2d", conv])],
    );
    writeFileSync(at("spread.weights.h5"), await whole(spread));
    const into = await graph(nested, "nested");
    expect(await refusal(() => readKerasWeights(at("spread.weights.h5"), into))).toContain(
      "missing are outer.a.c",
    );
  });
});

test("classes are counted where no single layer says them", async () => {
  const classesOf = (text: string) => graphOf(parseModel(text, "x.h5"), "x.h5").model.classes;
  const flat = model(["Conv2D", "c", { filters: 2, kernel_size: 7 }], ["Flatten", "f", {}]);
  expect(classesOf(flat)).toBe(8);
  const pair = JSON.parse(model(["GlobalAveragePooling2D", "g", {}], ["Dense", "d", { units: 2 }]));
  pair.config.layers.push({
    ...{ class_name: "Concatenate", name: "both", config: { name: "both", axis: -1 } },
    inbound_nodes: [
      [
        ["g", 0, 0, {}],
        ["d", 0, 0, {}],
      ],
    ],
  });
  pair.config.layers.push({
    ...{ class_name: "Softmax", name: "s", config: { name: "s", axis: -1 } },
    inbound_nodes: inbound("both"),
  });
  pair.config.output_layers = [["s", 0, 0]];
  expect(classesOf(JSON.stringify(pair))).toBe(5);
});

describe("a model_config is refused, with the layer's position, that has", () => {
  const refusedModel = (text: string) => refusal(() => graphOf(parseModel(text, "x.h5"), "x.h5"));

  test.each<[string, readonly (readonly [string, string, object])[], string]>([
    ["a layer we lack", [["LSTM", "l", { units: 3 }]], "x.h5: layer 2 l is a LSTM, which is not read"],
    [
      "channels first",
      [["Conv2D", "c", { filters: 4, kernel_size: 3, data_format: "channels_first" }]],
      'layer 2 c (Conv2D): data_format is "channels_first"',
    ],
    [
      "dilation",
      [["Conv2D", "c", { filters: 4, kernel_size: 3, dilation_rate: [2, 2] }]],
      "dilation_rate is [2,2]",
    ],
    ["groups", [["Conv2D", "c", { filters: 4, kernel_size: 3, groups: 2 }]], "groups is 2"],
    ["no number of filters", [["Conv2D", "c", { kernel_size: 3 }]], "filters is missing"],
    [
      "an activation we lack",
      [["Activation", "a", { activation: "mish" }]],
      'activation "mish" is not among',
    ],
    ["an axis that is not the channels", [["BatchNormalization", "b", { axis: 1 }]], "axis is [1]"],
    [
      "a softmax within",
      [
        ["Activation", "s", { activation: "softmax" }],
        ["Dense", "d", { units: 2 }],
      ],
      "layer 3 d: reads a softmax inside the model",
    ],
    [
      "probabilities that are no softmax",
      [
        ["Flatten", "f", {}],
        ["Dense", "d", { units: 2, activation: "sigmoid" }],
      ],
      "the model ends in sigmoid",
    ],
    [
      "maps at its end",
      [["Conv2D", "c", { filters: 4, kernel_size: 3 }]],
      "does not give one number a class",
    ],
  ])("%s", async (_, layers, says) => {
    expect(await refusedModel(model(...layers))).toContain(says);
  });

  test.each<
    [string, (config: { layers: { inbound_nodes: unknown }[]; [key: string]: unknown }) => void, string]
  >([
    [
      "a loop",
      ({ layers }) => (layers[1].inbound_nodes = inbound("d")),
      "layer 2 c reads what is never computed",
    ],
    [
      "a missing layer",
      ({ layers }) => (layers[1].inbound_nodes = inbound("x")),
      "layer 2 c reads x, which is no layer",
    ],
    ["two layers of one name", ({ layers }) => layers.push(layers[1]), "two layers have the same name"],
    [
      "two inputs",
      (config) =>
        (config["input_layers"] = [
          ["in", 0, 0],
          ["in", 0, 0],
        ]),
      "has 2 inputs",
    ],
    ["an output that is no layer", (config) => (config["output_layers"] = [["x", 0, 0]]), "the output x"],
    [
      "inputs a thousand deep",
      ({ layers }) => (layers[1].inbound_nodes = JSON.parse(`${"[".repeat(1000)}${"]".repeat(1000)}`)),
      "lie too deep in each other",
    ],
  ])("%s", async (_, change, says) => {
    const parsed = JSON.parse(small);
    change(parsed.config);
    expect(await refusedModel(JSON.stringify(parsed))).toContain(says);
  });
});
