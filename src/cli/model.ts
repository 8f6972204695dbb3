import { Command, Option } from "commander";
import type { LayerSummary, ModelSummary } from "../models/build.ts";
import { resolveModel } from "../models/options.ts";
import { grouped, scaled } from "../report/numbers.ts";
import { type Column, textTable } from "../report/text-table.ts";
import { countModel } from "../study/plan.ts";
import { answer, count, whole, withExample, withShared } from "./common.ts";
import { imageSize, modelNames, modelOf, withModelOptions } from "./model-options.ts";
import { describeProgram } from "./model-program.ts";

interface Options {
  readonly image: readonly [number, number];
  readonly classes: number;
  readonly depth?: number;
  readonly program?: "training" | "inference";
  readonly batch: number;
  readonly records?: boolean;
  readonly json?: boolean;
}

export function modelCommand(): Command {
  const command = withModelOptions(new Command("model"))
    .description("layers, shapes, parameters and multiply-adds of a model; the program that runs it")
    .argument("<name>", modelNames)
    .option("--image <size>", "height and width of an image, 32x32 or 32", imageSize, [32, 32] as const)
    .option("--classes <n>", "number of classes", count, 10)
    .option("--depth <n>", "levels to list: 0 totals, 1 stages, 2 blocks (default: all)", whole)
    .addOption(
      new Option("--program [of]", "instead: what runs, and what each compile pass changes")
        .choices(["training", "inference"])
        .preset("training"),
    )
    .option("--batch <n>", "images a step of the program", count, 32)
    .option("--records", "list the whole program too, before the passes and after them");
  withExample(
    withShared(command),
    "atento model resnet50 --stem study --attention se --placement identity --no-bias",
    "atento model resnet50 --program inference --records",
  );
  return command.action((name: string, options: Options) => {
    const model = resolveModel(modelOf(name, options as unknown as Record<string, unknown>), options.classes);
    const { program } = options;
    if (program) {
      const { document, text } = describeProgram(model, { ...options, program });
      answer(options, { model, ...document }, text);
      return;
    }
    const summary = countModel(model, options.image);
    const { parameters, statistics, multiplyAdds } = summary;
    const layers = tree(summary).filter(({ level }) => options.depth === undefined || level < options.depth);
    const document = {
      model,
      image: options.image,
      layers: layers.map(({ level: _, ...layer }) => layer),
      parameters,
      statistics,
      total: parameters + statistics,
      multiplyAdds,
    };
    answer(options, document, describe(layers, summary, options.image));
  });
}

interface Placed extends LayerSummary {
  readonly level: number;
}

/** Layers in the order of the model, each after the one that holds it. */
function tree({ layers }: ModelSummary): Placed[] {
  const names = new Set(layers.map(({ name }) => name));
  const levelOf = (name: string) => {
    const parts = name.split(".");
    return parts.filter((_, k) => k > 0 && names.has(parts.slice(0, k).join("."))).length;
  };
  const children = (parent: string, level: number): Placed[] =>
    layers
      .filter(({ name }) => levelOf(name) === level && (parent === "" || name.startsWith(`${parent}.`)))
      .flatMap((layer) => [{ ...layer, level }, ...children(layer.name, level + 1)]);
  return children("", 0);
}

function describe(layers: readonly Placed[], total: ModelSummary, image: readonly [number, number]): string {
  const columns: Column<Placed>[] = [
    { title: "layer", cell: ({ name, level }) => `${"  ".repeat(level)}${name}` },
    { title: "output", cell: ({ shape }) => shape.slice(1).join("×") },
    { title: "parameters", align: "right", cell: ({ parameters }) => blankZero(parameters, grouped) },
    { title: "statistics", align: "right", cell: ({ statistics }) => blankZero(statistics, grouped) },
    { title: "multiply-adds", align: "right", cell: ({ multiplyAdds }) => blankZero(multiplyAdds, scaled) },
  ];
  const sums: [string, string][] = [
    ["trainable parameters", grouped(total.parameters)],
    ["running statistics", grouped(total.statistics)],
    ["parameters, statistics included", grouped(total.parameters + total.statistics)],
    [
      `multiply-adds of one ${image.join("×")} image, forward`,
      `${grouped(total.multiplyAdds)} (${scaled(total.multiplyAdds)})`,
    ],
  ];
  const width = Math.max(...sums.map(([what]) => what.length));
  const lines = sums.map(([what, n]) => `${what.padEnd(width)}  ${n}`);
  return [...(layers.length > 0 ? [textTable(columns, layers), ""] : []), ...lines].join("\n");
}

const blankZero = (n: number, show: (n: number) => string) => (n === 0 ? "" : show(n));
