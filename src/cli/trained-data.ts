import { type DataSource, sourceFromText } from "../data/registry.ts";
import { dataSourceSchema } from "../data/schema.ts";
import { check, expectChecked } from "../study/issues.ts";
import { UserError } from "../tensor/errors.ts";
import type { Trained } from "../train/trained.ts";

/** The data named on the command line, images of a folder brought to the size of a model. */
export function dataFor([height, width]: readonly [number, number], named: string): DataSource {
  const source = sourceFromText(named);
  return source.source === "folder" ? { ...source, size: [height, width] } : source;
}

/** The data a model was trained on. @throws UserError when its file does not say. */
export function ownData(path: string, { data }: Trained): DataSource {
  if (data) return expectChecked(check(dataSourceSchema, data.source, ["data", "source"]));
  throw new UserError(`${path}: does not say what it was trained on: name the data with --data`);
}
