// Gives models of ours to Keras, and models of Keras' to us: probabilities must agree to 1e-5 both ways.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { loadDataset } from "../../dist/data/load.js";
import { cacheFolder } from "../../dist/data/source.js";
import { createEngine } from "../../dist/engine/create.js";
import { readKeras, readKerasWeights } from "../../dist/exchange/keras/read.js";
import { trainingOf } from "../../dist/exchange/keras/training.js";
import { writeKeras } from "../../dist/exchange/keras/write.js";
import { buildModel } from "../../dist/models/build.js";
import { resolveModel } from "../../dist/models/options.js";
import { Variables } from "../../dist/nn/scope.js";
import { trainSchema } from "../../dist/train/options.js";
import { loadTrained } from "../../dist/train/trained.js";
import { trainRun } from "../../dist/train/trainer.js";
import { writeWeights } from "../../dist/train/weights.js";

const PACKAGES = ["tensorflow-cpu==2.21.0", "tf-keras==2.21.0", "keras==3.15.1", "h5py==3.14.0"];
const MOST = 1e-5;
const here = dirname(fileURLToPath(import.meta.url));

const options = new Command("keras-check")
  .description("Has tf-keras 2 and Keras 3 load, run and train what we write, and reads what they write.")
  .option(
    "--python <file>",
    `an interpreter that has ${PACKAGES.join(", ")} (default: a virtual environment in the cache)`,
  )
  .option("--folder <folder>", "where files are put and stay (default: a temporary one, gone when all agree)")
  .addHelpText("after", "\nExample: npm run keras-check -- --folder /tmp/keras-check")
  .parse()
  .opts();
const folder = options.folder ?? mkdtempSync(join(tmpdir(), "atento-keras-check-"));
const at = (...path) => join(folder, ...path);

function run(program, args, environment = {}) {
  const { status, error } = spawnSync(program, args, {
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  if (status === 0) return;
  console.error(`keras-check: ${program} ${args.join(" ")}: ${error?.message ?? `ended with ${status}`}`);
  process.exit(1);
}

function pythonOf() {
  if (options.python) return options.python;
  const made = join(cacheFolder({}), "keras-check");
  const python = join(made, "bin/python");
  const [complete, packages] = [join(made, "complete"), `${PACKAGES.join("\n")}\n`];
  if (!existsSync(complete) || readFileSync(complete, "utf8") !== packages) {
    console.log(`installing ${PACKAGES.join(", ")} into ${made}`);
    mkdirSync(made, { recursive: true });
    run("python3", ["-m", "venv", made]);
    run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...PACKAGES]);
    writeFileSync(complete, packages);
  }
  return python;
}

const variants = {
  plain: {},
  se: { attention: "se", attentionOptions: { reduction: 4 } },
  cbam: { attention: "cbam", attentionOptions: { reduction: 4 } },
  eca: { attention: "eca" },
  "cbam-official": { attention: "cbam", attentionOptions: { reduction: 4, convention: "official" } },
  "se-adam": { attention: "se", attentionOptions: { reduction: 4 } },
  "se-study": { stem: "study", attention: "se", attentionOptions: { bias: false }, placement: "identity" },
};

const adam = { name: "adam", lr: 1e-3, eps: 1e-7, convention: "keras" };

const engine = createEngine();

async function probabilitiesOf({ model, image, weights }, images) {
  const variables = new Variables(0);
  const batch = images.length / (3 * image[0] * image[1]);
  const { logits } = buildModel(model, variables, { batch, image, training: false });
  const store = engine.open(variables.all());
  writeWeights(store, weights);
  const outputs = await store.compile({ outputs: { logits }, effects: [] }).run({ images });
  const rows = Array.from({ length: batch }, (_, n) =>
    outputs.logits.slice(n * model.classes, (n + 1) * model.classes),
  );
  store.close();
  return rows.flatMap((row) => {
    const powers = [...row].map((x) => Math.exp(x - Math.max(...row)));
    return powers.map((x) => x / powers.reduce((a, b) => a + b));
  });
}

const floats = (path) => new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
const writeFloats = (path, values) => writeFileSync(path, new Uint8Array(Float32Array.from(values).buffer));

/** [N,H,W,3] → [N,3,H,W]. */
function channelsFirst(images, [height, width]) {
  const pixels = height * width;
  return Float32Array.from(images, (_, i) => {
    const [n, rest] = [Math.floor(i / (3 * pixels)), i % (3 * pixels)];
    return images[n * 3 * pixels + (rest % pixels) * 3 + Math.floor(rest / pixels)];
  });
}

let failures = 0;
function judge(what, ours, theirs) {
  const error = ours.reduce(
    (most, x, i) => Math.max(most, Number.isNaN(x - theirs[i]) ? 1 : Math.abs(x - theirs[i])),
    0,
  );
  const good = ours.length === theirs.length && error < MOST;
  if (!good) failures++;
  console.log(`${good ? "ok  " : "FAIL"} ${what}: probabilities differ by ${error.toExponential(1)}`);
}

/** Trains each variant a little and writes its two files and its probabilities of 8 images. */
async function writeOurs() {
  const image = [dataset.height, dataset.width];
  const images = floats(at("images.f32"));
  for (const [variant, model] of Object.entries(variants)) {
    const folder = at("runs", variant);
    mkdirSync(folder, { recursive: true });
    const settings = {
      ...{ variant, seed: 1 },
      model: resolveModel(
        { name: "resnet14", depths: [2, 1], widths: [8, 16], ...model },
        dataset.classes.length,
      ),
      data: {
        ...{ source, name: dataset.name, fingerprint: dataset.fingerprint, classes: dataset.classes },
        ...{ image, validation: 0, normalize: "channel" },
      },
      train: trainSchema.parse({
        epochs: 8,
        batch: 16,
        augment: [],
        ...(variant === "se-adam" && { optimizer: adam }),
      }),
    };
    await trainRun({ folder, settings, dataset, engine });
    const trained = await loadTrained(folder);
    const training = await trainingOf(folder, trained, true);
    await writeKeras(trained, at(`${variant}.h5`), { weightsOnly: false, training });
    await writeKeras(trained, at(`${variant}.weights-only.h5`), { weightsOnly: true });
    writeFloats(at(`${variant}.f32`), await probabilitiesOf(trained, channelsFirst(images, image)));
  }
}

/** Every file that Python wrote and lists, with the probabilities it had. */
async function readTheirs(keras) {
  for (const { file, weights, probabilities, images, size } of JSON.parse(
    readFileSync(at(`keras${keras}.json`), "utf8"),
  )) {
    const whole = await readKeras(at(file), { image: size });
    const trained = weights ? await readKerasWeights(at(weights), whole) : whole;
    const ours = await probabilitiesOf(trained, channelsFirst(floats(at(images)), size));
    judge(`Atento reads ${weights ?? file}`, ours, [...floats(at(probabilities))]);
  }
}

mkdirSync(folder, { recursive: true });
const python = pythonOf();
const source = { source: "shapes", train: 64, test: 16, size: 32 };
const dataset = await loadDataset(source);
const bytes = dataset.test.images.subarray(0, 8 * dataset.height * dataset.width * 3);
writeFloats(
  at("images.f32"),
  Array.from(bytes, (byte) => byte / 64 - 2),
);
await writeOurs();
for (const keras of ["2", "3"]) {
  run(python, [join(here, "check.py"), folder, ...Object.keys(variants)], {
    ...{
      TF_USE_LEGACY_KERAS: keras === "2" ? "1" : "0",
      TF_CPP_MIN_LOG_LEVEL: "3",
      CUDA_VISIBLE_DEVICES: "",
    },
  });
  await readTheirs(keras);
}
if (failures === 0 && !options.folder) rmSync(folder, { recursive: true });
console.log(failures === 0 ? "keras-check: all agree" : `keras-check: ${failures} do not agree`);
process.exit(failures === 0 ? 0 : 1);
