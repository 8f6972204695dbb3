import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { Command } from "commander";
import { exportModel } from "../exchange/export.ts";
import { formats } from "../exchange/formats.ts";
import { sha256Of } from "../exchange/pretrained.ts";
import { unknownName } from "../models/options.ts";
import { UserError } from "../tensor/errors.ts";
import { modelFile, type Trained } from "../train/trained.ts";
import { answer, display, withExample } from "./common.ts";
import { type GivenOptions, loadGiven, tellAssumed, withGiven } from "./given.ts";

interface Options extends GivenOptions {
  readonly to?: string;
  readonly all?: boolean;
  readonly out?: string;
  readonly map?: string | boolean;
  readonly optimizerState?: boolean;
  readonly json?: boolean;
}

export function exportCommand(): Command {
  const lines = [...formats.values()].map(({ name, about, files }) => {
    const names = files.map((file) => file.name).join(", ");
    return `  ${name.padEnd(12)} ${names}: ${about}`;
  });
  const command = new Command("export")
    .description("write a trained model for other programs")
    .argument("<run>", "a run's folder or a model file")
    .option("--to <format>", [...formats.keys()].join(", "))
    .option("--all", "in every format")
    .option("--out <dir>", "folder to write into (default: where the model lies)")
    .option("--map <layer>", "layer whose Grad-CAM ONNX shows (default: the last that is no single pixel)")
    .option("--no-map", "no map in ONNX")
    .option("--optimizer-state", "Adam's state in model.h5 too, for tf.keras 2 to go on with")
    .option("--json", "one JSON document on stdout, nothing else")
    .addHelpText("after", `\nFormats:\n${lines.join("\n")}`);
  withGiven(command, ", for a .h5 that takes any");
  withExample(
    command,
    "atento export runs/quick/se/seed-1 --to onnx",
    "atento export model.h5 --all --out taken",
  );
  return command.action(async (run: string, options: Options) => {
    const { to, all, map } = options;
    if ((to === undefined) === !all)
      throw new UserError(`export: expected --to ${[...formats.keys()].join("|")} or --all`);
    const format = to === undefined ? undefined : formats.get(to);
    if (to !== undefined && !format) throw unknownName("format", to, [...formats.keys()]);
    const asked = format ? [format] : [...formats.values()];
    const expectAmong = (name: string, flags: string) => {
      if (!asked.some((one) => one.name === name))
        throw new UserError(`export --to ${to}: ${flags} is of ${name}: leave it away, or --to ${name}`);
    };
    if (typeof map === "string" || map === false) expectAmong("onnx", map === false ? "--no-map" : "--map");
    if (options.optimizerState) expectAmong("keras", "--optimizer-state");
    const trained = await withOrigin(run, await loadGiven(run, options));
    const show = display();
    tellAssumed(show, run, trained, "class 0, class 1 …");
    show.bars([{ label: "export", text: `${run}, ${trained.weights.size} tensors` }]);
    const isRun = (await stat(run)).isDirectory();
    const folder = options.out ?? (isRun ? run : dirname(run));
    const files = await exportModel(trained, folder, asked, {
      map: map === true ? undefined : map,
      ...(isRun && { run }),
      optimizerState: options.optimizerState,
    });
    show.clear();
    answer(options, { run, files }, files.join("\n"));
  });
}

/** What a file of somebody else's does not say of itself: which file it is. */
async function withOrigin(path: string, trained: Trained): Promise<Trained> {
  const { data, origin, seed } = trained;
  if (data !== undefined || origin !== undefined || seed !== undefined) return trained;
  const file = await modelFile(path);
  return { ...trained, origin: { file: basename(file), sha256: await sha256Of(file) } };
}
