import { nearest } from "../files/nearest.ts";
import { UserError } from "../tensor/errors.ts";
import type { SourceSpec } from "./source.ts";
import { type Cifar10Source, cifar10Source } from "./sources/cifar10.ts";
import { type FolderSource, folderSource } from "./sources/folder.ts";
import { type ShapesSource, shapesSource } from "./sources/shapes.ts";

/** Where a data set comes from, in the form of a study file. */
export type DataSource = Cifar10Source | FolderSource | ShapesSource;

export const SOURCES: Readonly<Record<DataSource["source"], SourceSpec<DataSource>>> = {
  cifar10: cifar10Source,
  folder: folderSource,
  shapes: shapesSource,
};

/** The source of this name; throws UserError, with the nearest name, when there is none. */
export function findSource(name: string): SourceSpec<DataSource> {
  if (Object.hasOwn(SOURCES, name)) return SOURCES[name as DataSource["source"]];
  throw new UserError(unknownSource(name));
}

/** What to say of a source that does not exist. */
export function unknownSource(name: string): string {
  const usages = Object.values(SOURCES).map((spec) => spec.usage);
  const guess = /[/\\]/.test(name) ? `folder:${name}` : nearest(name, Object.keys(SOURCES));
  const hint = guess ? `did you mean ${guess}?` : `there are ${usages.join(", ")}`;
  return `unknown data source ${JSON.stringify(name)}: ${hint}`;
}

/** Reads the short form of the command line: `cifar10`, `cifar10:PATH`, `folder:PATH`, `shapes`; throws UserError. */
export function sourceFromText(text: string): DataSource {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  return findSource(name).fromText(colon < 0 ? undefined : text.slice(colon + 1));
}
