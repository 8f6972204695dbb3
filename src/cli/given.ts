import { type Command, InvalidArgumentError } from "commander";
import type { Normalization } from "../data/dataset.ts";
import type { Given } from "../exchange/format.ts";
import { loadModel } from "../exchange/formats.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";
import type { Display } from "./display.ts";
import { imageSize } from "./model-options.ts";

/** What a command line says of a model file that does not say it itself. */
export interface GivenOptions {
  readonly image?: readonly [number, number];
  readonly mean?: Normalization["mean"];
  readonly std?: Normalization["std"];
}

export function withGiven(command: Command, images: string): Command {
  return command
    .option("--image <size>", `height and width of its images${images}`, imageSize)
    .option(
      "--mean <r,g,b>",
      "taken from its pixels after a division by 255; one number for all colours",
      colours,
    )
    .option("--std <r,g,b>", "what they are divided by then", colours);
}

/** Three numbers, or one for all colours. */
function colours(text: string): readonly [number, number, number] {
  const values = text.split(",").map((word) => (word.trim() === "" ? Number.NaN : Number(word)));
  const [r, g = r, b = r] = values;
  if (![1, 3].includes(values.length) || !values.every(Number.isFinite)) {
    throw new InvalidArgumentError("It must be a number, or three such as 0.5,0.5,0.5.");
  }
  return [r, g, b];
}

/** @throws UserError when mean and deviation are not both given, or a deviation is not above 0. */
export function givenBy({ image, mean, std }: GivenOptions): Given {
  if (!mean !== !std) throw new UserError("--mean and --std go together");
  if (std?.some((value) => value <= 0)) throw new UserError(`--std ${std.join(",")}: must be above 0`);
  return { ...(image && { image }), ...(mean && std && { normalization: { mean, std } }) };
}

/** A run's or a file's model with what is given of it. @throws UserError as loadModel. */
export async function loadGiven(path: string, options: GivenOptions): Promise<Trained> {
  return loadModel(path, givenBy(options));
}

/** Says what the file left open. */
export function tellAssumed(show: Display, path: string, { assumed = [] }: Trained, classes: string): void {
  const texts = {
    classes: `class names: ${classes}`,
    normalization: "normalisation: pixels divided by 255 (give --mean and --std if it was another)",
  };
  for (const what of assumed) show.line(`${path}: assumed ${texts[what]}`);
}
