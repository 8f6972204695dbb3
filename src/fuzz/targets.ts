import type { Target } from "./target.ts";
import { dataTargets } from "./targets/data.ts";
import { modelTargets } from "./targets/models.ts";
import { recordTargets } from "./targets/records.ts";

/** All readers of files; those that read from the disk keep theirs in a folder. */
export async function makeTargets(folder: string): Promise<Target[]> {
  return [...(await modelTargets(folder)), ...recordTargets(folder), ...(await dataTargets(folder))];
}
