import { test } from "vitest";
import { methods } from "../../src/cam/methods/registry.ts";
import type { MapMethod } from "../../src/cam/spec.ts";
import { Variables } from "../../src/nn/scope.ts";
import { input, type Shape } from "../../src/tensor/tensor.ts";
import { expectNone } from "../support/compare.ts";
import { nativeFamilies } from "../support/engines.ts";
import { differences, type Runnable, runOn, runOnOracle } from "../support/graphs.ts";
import { normal, positive } from "../support/values.ts";

// sums over pixels of A and of g·A, in one walk with a sum over channels, are read in the other order
test("several results of one walk are each its own, in whatever order they are read", async () => {
  const shape: Shape = [2, 8, 3, 2];
  const at = { activations: input("activations", shape), gradients: input("gradients", shape) };
  const names = ["grad-cam++", "layer-cam", "seg-eigen-cam", "xgrad-cam"];
  const outputs = Object.fromEntries(
    names.map((name) => [name, (methods.get(name) as MapMethod).map(at, {})]),
  );
  const feeds = { activations: positive(shape, "a"), gradients: normal(shape, "g") };
  const graph = { outputs, effects: [] };
  const runnable: Runnable = { variables: new Variables(1), graph, runs: [feeds] };
  const expected = runOnOracle(runnable);
  for (const { engines } of nativeFamilies) {
    expectNone(differences(await runOn(engines[0].engine, runnable), expected, 1e-4));
  }
});
