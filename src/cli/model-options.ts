import { type Command, InvalidArgumentError, Option } from "commander";
import { attentions } from "../attention/registry.ts";
import { type ModelOptions, modelSchema, models, stems } from "../models/options.ts";
import { check, expectChecked } from "../study/issues.ts";
import { count, counts } from "./common.ts";

/** Flags that say which model: those of the attention modules come from their options. */
export function withModelOptions(command: Command): Command {
  command
    .option("--stem <name>", `${Object.keys(stems).join(", ")} (default: cifar)`)
    .option("--attention <name>", `none, ${[...attentions.keys()].join(", ")} (default: none)`)
    .option("--placement <blocks>", "blocks with attention: all or identity (default: all)")
    .option("--batch-norm <constants>", "torch or keras (default: torch)")
    .option("--initialization <custom>", "initial weights as torch or keras has them (default: torch)")
    .option("--depths <list>", "blocks of each stage, 3,4,6,3", counts)
    .option("--widths <list>", "width of each stage, 64,128,256,512", counts)
    .option("--strides <list>", "stride of each stage, 1,2,2,2", counts)
    .option("--expansion <n>", "output channels of a block over its width", count);
  for (const option of attentionFlags()) command.addOption(option);
  return command;
}

interface AttentionOption {
  readonly key: string;
  readonly value: number | boolean | string;
  readonly modules: readonly string[];
  readonly choices?: readonly string[];
}

function attentionOptions(): AttentionOption[] {
  const found = new Map<string, AttentionOption>();
  for (const { name, options, choices } of attentions.values()) {
    for (const [key, value] of Object.entries(options)) {
      const known = found.get(key)?.modules ?? [];
      found.set(key, { key, value, choices: choices?.[key], modules: [...known, name] });
    }
  }
  return [...found.values()];
}

function attentionFlags(): Option[] {
  return attentionOptions().flatMap(({ key, value, modules, choices }) => {
    const of = `of ${modules.join(", ")}`;
    const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (typeof value === "boolean") {
      return [
        new Option(`--${flag}`, `${key} ${of}${value ? " (default)" : ""}`),
        new Option(`--no-${flag}`, `no ${key} ${of}${value ? "" : " (default)"}`).default(undefined),
      ];
    }
    const option = new Option(
      `--${flag} <value>`,
      `${key} ${of}: ${choices?.join(" or ") ?? `default ${value}`}`,
    );
    return [typeof value === "number" ? option.argParser(count) : option];
  });
}

const PLAIN = [
  "stem",
  "attention",
  "placement",
  "batchNorm",
  "initialization",
  "depths",
  "widths",
  "strides",
  "expansion",
] as const;

/** The model that the flags ask for; names are looked up where it is resolved. @throws UserError for other mistakes. */
export function modelOf(name: string, given: Readonly<Record<string, unknown>>): ModelOptions {
  const pick = (keys: readonly string[]) =>
    Object.fromEntries(keys.filter((key) => given[key] !== undefined).map((key) => [key, given[key]]));
  const attentionGiven = pick(attentionOptions().map(({ key }) => key));
  const options = { name, ...pick(PLAIN), attentionOptions: attentionGiven };
  expectChecked(check(modelSchema, options));
  return options as ModelOptions;
}

/** `32x48` (height × width) or `32`. */
export function imageSize(text: string): readonly [number, number] {
  const [, height, width = height] = /^(\d+)(?:[x×](\d+))?$/.exec(text) ?? [];
  if (!(Number(height) > 0 && Number(width) > 0))
    throw new InvalidArgumentError("It must be a size such as 32x32.");
  return [Number(height), Number(width)];
}

export const modelNames = Object.keys(models).join(", ");
