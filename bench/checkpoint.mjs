// What a checkpoint costs a training that goes on meanwhile: ResNet-50 with Adam, blocks of steps with and without one
// in turns; the median of the differences, as a share of a minute. Run: npm run bench:checkpoint -- [pairs]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawShapes } from "../dist/data/sources/shapes.js";
import { createEngine } from "../dist/engine/create.js";
import { resolveModel } from "../dist/models/options.js";
import { Checkpoints } from "../dist/train/checkpoint.js";
import { CheckpointKeeper } from "../dist/train/checkpoint-keeper.js";
import { trainSchema } from "../dist/train/options.js";
import { openSession } from "../dist/train/session.js";
import { initialState } from "../dist/train/state.js";
import { Steps } from "../dist/train/steps.js";

const PAIRS = Number(process.argv[2] ?? 8);
const STEPS = 4;

const dataset = drawShapes({ train: 320, test: 20 });
const { name, fingerprint, classes, height, width } = dataset;
const train = trainSchema.parse({ batch: 32, optimizer: { name: "adam", lr: 1e-5 } });
const settings = {
  ...{ variant: "bench", seed: 1, model: resolveModel({ name: "resnet50" }, classes.length), train },
  data: {
    ...{ source: { source: "shapes" }, name, fingerprint, classes, image: [height, width] },
    ...{ validation: 0, normalize: "channel" },
  },
};
const engine = createEngine();
const session = openSession(settings, dataset, engine);
const folder = mkdtempSync(join(tmpdir(), "atento-checkpoint-"));
const checkpoints = new Checkpoints(folder);
await checkpoints.prepare();
const keeper = new CheckpointKeeper(folder, checkpoints, session.store);
const steps = new Steps(session, train);
const at = { step: 0, epoch: 0, stepInEpoch: 0, plateau: null };

async function block(saves) {
  const began = performance.now();
  if (saves) {
    at.step++;
    keeper.hold({ ...initialState(train), step: at.step });
    keeper.writeHeld();
  }
  for (let k = 0; k < STEPS; k++) await steps.run(at, await steps.batch(at));
  const ms = performance.now() - began;
  if (keeper.busy) console.log("the checkpoint took longer than its block: the figure is too small");
  await keeper.settle();
  return ms;
}

for (const saves of [false, true]) await block(saves); // memory is touched, code is compiled
const pairs = [];
for (let k = 0; k < PAIRS; k++) {
  const order = k % 2 ? [true, false] : [false, true];
  const [a, b] = [await block(order[0]), await block(order[1])];
  pairs.push(order[0] ? { with: a, without: b } : { with: b, without: a });
}
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const stepMs = median(pairs.map((pair) => pair.without)) / STEPS;
const costMs = median(pairs.map((pair) => pair.with - pair.without));
const megabytes = (4 * session.store.snapshotPlan.floats) / 1e6;
console.log(`ResNet-50 with Adam, batch 32, ${engine.description}: ${stepMs.toFixed(0)} ms a step`);
console.log(
  `a checkpoint of ${megabytes.toFixed(0)} MB costs ${costMs.toFixed(0)} ms (median of ${PAIRS} pairs of ${STEPS} steps): ` +
    `${((100 * costMs) / 60_000).toFixed(2)} % of the time with one a minute`,
);
await keeper.close();
await session.close();
rmSync(folder, { recursive: true });
