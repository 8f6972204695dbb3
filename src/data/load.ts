import type { Dataset } from "./dataset.ts";
import { type DataSource, findSource } from "./registry.ts";
import type { LoadOptions } from "./source.ts";

/** Loads a data set into shared memory; throws UserError when the source is unknown or its data not as it should be. */
export async function loadDataset(source: DataSource, options: LoadOptions = {}): Promise<Dataset> {
  return findSource(source.source).load(source, options);
}
