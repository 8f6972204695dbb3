import { expect, test } from "vitest";
import { gradient } from "../../../src/autodiff/gradient.ts";
import { createEngine } from "../../../src/engine/create.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { torchBatchNorm } from "../../../src/nn/layers.ts";
import { Scope, Variables } from "../../../src/nn/scope.ts";
import { conv2d } from "../../../src/ops/conv.ts";
import { add, multiply, relu, scale, sigmoid } from "../../../src/ops/elementwise.ts";
import { apply } from "../../../src/ops/op.ts";
import { sgdOp } from "../../../src/ops/optimizer.ts";
import { ShapeError, UserError } from "../../../src/tensor/errors.ts";
import { input } from "../../../src/tensor/tensor.ts";
import { describeEngines } from "../../support/engines.ts";
import { normal } from "../../support/values.ts";

/** w [2], started at 1 and 2; a step adds x to it and gives its old value. */
function counter(engine: Engine) {
  const variables = new Variables(1);
  const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm });
  const w = nn.parameter("w", [2], (values) => values.set([1, 2]));
  const v = nn.parameter("v", [2], (values) => values.fill(0));
  const x = input("x", [2]);
  const attrs = { momentum: 0, nesterov: false, weightDecay: 0 };
  const step = apply(sgdOp, [w, scale(x, -1), v, input("rate", [1])], attrs);
  const store = engine.open(variables.all());
  const program = store.compile({ outputs: { before: scale(w, 1) }, effects: [step] });
  const run = (a: number, b: number) => program.run({ x: Float32Array.of(a, b), rate: Float32Array.of(1) });
  return { store, program, run, w, x };
}

describeEngines("an engine", (engine) => {
  test("a program may be compiled while another one runs, even one that needs more memory", async () => {
    const variables = new Variables(1);
    const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm });
    const w = nn.parameter("w", [8, 8, 3, 3], (values) => values.set(normal([8, 8, 3, 3], "w")));
    const store = engine.open(variables.all());
    const program = (size: number) => {
      const x = input("x", [1, 8, size, size]);
      return { run: store.compile({ outputs: { y: conv2d(relu(x), w) }, effects: [] }).run, x };
    };
    const small = program(6);
    const feeds = { x: normal(small.x.shape, "x") };
    const expected = await small.run(feeds);
    const running = Array.from({ length: 4 }, () => small.run(feeds));
    const large = program(40).run({ x: normal([1, 8, 40, 40], "x") });
    for (const outputs of await Promise.all(running)) expect(outputs).toEqual(expected);
    expect((await large).y).toHaveLength(8 * 40 * 40);
  });

  test("starts variables at their initial values, and reads and writes them in logical order", () => {
    const variables = new Variables(1);
    const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm });
    nn.parameter("kernel", [3, 2, 2, 5], (values) => values.set(values.map((_, i) => i)));
    nn.parameter("matrix", [3, 4], (values) => values.fill(7));
    const store = engine.open(variables.all());
    expect([...store.read("kernel")]).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect([...store.read("matrix")]).toEqual(new Array(12).fill(7));
    const values = normal([3, 4], "values");
    store.write("matrix", values);
    expect(store.read("matrix")).toEqual(values);
    const copy = store.read("matrix");
    copy.fill(0);
    expect(store.read("matrix")).toEqual(values);
    expect([...store.variables.keys()]).toEqual(["kernel", "matrix"]);
    store.close();
  });

  test("refuses values of another size, and names it does not have", () => {
    const { store } = counter(engine);
    expect(() => store.write("w", new Float32Array(3))).toThrow(
      new ShapeError("write", "expects 2 values [2], got 3", "w"),
    );
    expect(() => store.read("nothing")).toThrow("nothing");
    expect(() => store.write("nothing", new Float32Array(1))).toThrow("nothing");
    store.close();
  });

  test("says which inputs a program reads, and misses them by name", async () => {
    const { store, program } = counter(engine);
    expect(program.inputs).toEqual(
      new Map([
        ["x", [2]],
        ["rate", [1]],
      ]),
    );
    await expect(program.run({ rate: Float32Array.of(1) })).rejects.toThrow(
      "x: is not fed; the program reads [2]",
    );
    await expect(program.run({ x: new Float32Array(3), rate: Float32Array.of(1) })).rejects.toThrow(
      "x: expects 2 values [2], got 3",
    );
    expect([...store.read("w")]).toEqual([1, 2]);
    store.close();
  });

  test("runs one after the other, in the order asked for, and reads see the state after each", async () => {
    const { store, run } = counter(engine);
    const befores = await Promise.all([run(1, 0), run(0, 1), run(10, 10)]);
    expect(befores.map(({ before }) => [...before])).toEqual([
      [1, 2],
      [2, 2],
      [2, 3],
    ]);
    expect([...store.read("w")]).toEqual([12, 13]);
    store.close();
  });

  test("a run that fails does not stop the next", async () => {
    const { store, program, run } = counter(engine);
    const failed = program.run({});
    const next = run(1, 1);
    await expect(failed).rejects.toThrow(ShapeError);
    expect([...(await next)["before"]]).toEqual([1, 2]);
    store.close();
  });

  test("programs of one store share its variables", async () => {
    const { store, run, w, x } = counter(engine);
    const other = store.compile({ outputs: { sum: add(w, x) }, effects: [] });
    await run(5, 5);
    const { sum } = await other.run({ x: Float32Array.of(100, 200) });
    expect([...sum]).toEqual([106, 207]);
    store.write("w", Float32Array.of(0, 0));
    expect([...(await other.run({ x: Float32Array.of(1, 2) }))["sum"]]).toEqual([1, 2]);
    store.close();
  });

  test.each<[string, readonly number[], number]>([
    ["by the direct way", [40, 24, 1, 1], 9],
    ["by Winograd's", [24, 24, 3, 3], 16],
    ["between few maps", [1, 2, 7, 7], 9],
  ])("weights kept %s are those of the moment, for every batch", async (_, kernel, size) => {
    const variables = new Variables(1);
    const nn = Scope.root(variables, { training: true, batchNorm: torchBatchNorm });
    const w = nn.parameter("w", kernel, (values) => values.set(normal(kernel, "w")));
    const v = nn.parameter("v", kernel, (values) => values.fill(0));
    const store = engine.open(variables.all());
    const programs = (keepsWeights: boolean) =>
      [1, 3].map((batch) => {
        const x = input("x", [batch, kernel[1], size, size]);
        const y = conv2d(x, w);
        const [dx] = gradient(y, y, [x]);
        return { program: store.compile({ outputs: { y, dx }, effects: [] }, { keepsWeights }), x };
      });
    const [kept, plain] = [programs(true), programs(false)];
    const expectEqual = async (what: string) => {
      for (const [k, { program, x }] of kept.entries()) {
        const feeds = { x: normal(x.shape, "x") };
        expect(await program.run(feeds), what).toEqual(await plain[k].program.run(feeds));
      }
    };
    await expectEqual("first");
    await expectEqual("again");
    store.write("w", normal(kernel, "another"));
    await expectEqual("after a write");
    const attrs = { momentum: 0, nesterov: false, weightDecay: 0 };
    const step = apply(sgdOp, [w, scale(w, 1), v, input("rate", [1])], attrs);
    await store.compile({ outputs: {}, effects: [step] }).run({ rate: Float32Array.of(0.1) });
    await expectEqual("after a step");
    store.close();
  });

  test("a sigmoid of any NaN is one, whatever bits it carries", async () => {
    const x = input("x", [40]);
    const store = engine.open([]);
    const program = store.compile({ outputs: { y: sigmoid(x) }, effects: [] });
    const bits = Uint32Array.from(
      { length: 40 },
      (_, k) => (k % 2 ? 0xff800000 : 0x7f800000) + 1 + k * k * 4000,
    );
    const { y } = await program.run({ x: new Float32Array(bits.buffer) });
    expect([...y].filter(Number.isNaN)).toHaveLength(40);
    store.close();
  });

  test("stores do not know of each other", async () => {
    const [a, b] = [counter(engine), counter(engine)];
    await a.run(1, 1);
    expect([...b.store.read("w")]).toEqual([1, 2]);
    a.store.close();
    await b.run(2, 2);
    expect([...b.store.read("w")]).toEqual([3, 4]);
    b.store.close();
  });

  test("outputs are the caller's own: a later run does not change them", async () => {
    const { store, run } = counter(engine);
    const first = await run(1, 1);
    await run(1, 1);
    expect([...first["before"]]).toEqual([1, 2]);
    store.close();
  });

  test("memory is used again only when nobody needs it any more", async () => {
    const x = input("x", [2, 3, 5, 4]);
    let y = relu(x);
    const kept = [y];
    for (let depth = 0; depth < 12; depth++) {
      y = sigmoid(add(multiply(y, y), depth % 3 === 0 ? kept[kept.length - 1] : scale(y, -3)));
      if (depth % 4 === 0) kept.push(y);
    }
    const outputs = Object.fromEntries([...kept, y].map((tensor, k) => [`y${k}`, tensor]));
    const values = normal(x.shape, "x");
    const expected = await createEngine({ engine: "reference" })
      .open([])
      .compile({ outputs, effects: [] })
      .run({ x: values });
    const store = engine.open([]);
    const actual = await store.compile({ outputs, effects: [] }).run({ x: values });
    for (const [name, wanted] of Object.entries(expected)) {
      actual[name].forEach((value, i) => {
        expect(Math.abs(value - wanted[i])).toBeLessThan(1e-5);
      });
    }
    store.close();
  });

  test("two inputs of one name are a mistake", () => {
    const store = engine.open([]);
    const graph = { outputs: { y: add(input("x", [2]), input("x", [2])) }, effects: [] };
    expect(() => store.compile(graph)).toThrow("two inputs are called x");
    store.close();
  });

  test("operands in the wrong order of axes are refused, or read as they are", async () => {
    const [x, w] = [input("x", [1, 2, 1, 2]), input("w", [2, 2, 1, 1])];
    const store = engine.open([]);
    const compile = () => store.compile({ outputs: { y: conv2d(x, w) }, effects: [] });
    if (engine.name === "native") {
      expect(compile).toThrow("weight [2,2,1,1] must be laid out as kernel, is as activation");
    } else {
      const feeds = { x: Float32Array.of(1, 2, 3, 4), w: Float32Array.of(1, 0, 10, 100) };
      expect([...(await compile().run(feeds))["y"]]).toEqual([1, 2, 310, 420]);
    }
    store.close();
  });
});

test.each([0, -1, 1.5, 257, Number.NaN])("%d threads are refused", (threads) => {
  expect(() => createEngine({ threads })).toThrow(UserError);
  expect(() => createEngine({ threads })).toThrow(
    `threads must be a whole number from 1 to 256, is ${threads}`,
  );
});
