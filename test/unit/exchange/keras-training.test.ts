import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { keras } from "../../../src/exchange/keras/format.ts";
import { openHdf5 } from "../../../src/formats/hdf5.ts";
import { loadTrained } from "../../../src/train/trained.ts";
import { trainRun } from "../../../src/train/trainer.ts";
import { request, temporaryFolder, tensorsIn, toyDataset } from "../train/support.ts";

const dataset = toyDataset();
const adam = { name: "adam", lr: 2e-3, beta2: 0.99, eps: 1e-7, convention: "keras", decay: 1e-6 };

async function trainedRun(optimizer: object): Promise<string> {
  const folder = temporaryFolder();
  await trainRun(request(folder, dataset, { train: { epochs: 1, optimizer } }));
  return folder;
}

async function written(folder: string, optimizerState: boolean) {
  const path = join(folder, "model.h5");
  await keras.files[0].write(await loadTrained(folder), path, { run: folder, optimizerState });
  return openHdf5(path);
}

describe("model.h5 of a run", () => {
  it("says the optimizer it was trained by, in Keras' words", async () => {
    const configOf = async (optimizer: object) => {
      const root = await written(await trainedRun(optimizer), false);
      expect(root.names).toEqual(["model_weights"]);
      return JSON.parse(root.text("training_config")!).optimizer_config;
    };
    expect(await configOf({ name: "sgd", lr: 0.05, momentum: 0.8, nesterov: true })).toEqual({
      class_name: "SGD",
      config: { name: "SGD", learning_rate: 0.05, momentum: 0.8, nesterov: true },
    });
    const said = {
      learning_rate: 2e-3,
      decay: 1e-6,
      beta_1: 0.9,
      beta_2: 0.99,
      epsilon: 1e-7,
      amsgrad: false,
    };
    expect(await configOf(adam)).toEqual({ class_name: "Adam", config: { name: "Adam", ...said } });
  });

  it("has Adam's step and moments of its checkpoint when they are asked for", async () => {
    const folder = await trainedRun(adam);
    const group = (await written(folder, true)).group("optimizer_weights")!;
    const names = group.texts("weight_names")!;
    const parameters = [...(await loadTrained(folder)).weights.keys()].filter(
      (name) => !/running/.test(name),
    );
    expect(names).toHaveLength(1 + 2 * parameters.length);
    expect(names[0]).toBe("Adam/iter:0");
    expect(group.dataset(names[0])!.shape).toEqual([]);
    const slots = tensorsIn(join(folder, "checkpoints/step-000000004.safetensors"));
    for (const kind of ["m", "v"]) {
      const stored = group.dataset(`Adam/fc/kernel/${kind}:0`)!;
      const own = slots.get(`fc.weight.${kind}`)!;
      const [inputs, outputs] = stored.shape;
      expect(own.some((value) => value !== 0)).toBe(true);
      // [out, in] here
      expect([...stored.floats()]).toEqual(
        Array.from({ length: own.length }, (_, k) => own[(k % outputs) * inputs + Math.floor(k / outputs)]),
      );
    }
  });

  it("is refused with a state that is not there, or that Keras has otherwise", async () => {
    const folder = await trainedRun(adam);
    const { weights, ...rest } = await loadTrained(folder);
    const other = { ...rest, weights: new Map([...weights].map(([name, x]) => [name, x.map((y) => y + 1)])) };
    const write = (run: string | undefined) =>
      keras.files[0].write(other, join(folder, "other.h5"), { run, optimizerState: true });
    await expect(write(folder)).rejects.toThrow(
      "no checkpoint has the optimizer's state of these very weights",
    );
    await expect(write(undefined)).rejects.toThrow("is kept in the folder of a run");
    await expect(written(await trainedRun({ name: "sgd" }), true)).rejects.toThrow("the state of SGD");
  });
});
