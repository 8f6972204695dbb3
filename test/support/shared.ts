import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Folder with what is shared beside the repository, such as the golden cases; ATENTO_SHARED tells another place. */
export const shared =
  process.env["ATENTO_SHARED"] ?? fileURLToPath(new URL("../../../shared", import.meta.url));

/** A folder in there, or why it is not. */
export function sharedFolder(name: string): { readonly path: string; readonly absence?: string } {
  const path = `${shared}/${name}`;
  return existsSync(path)
    ? { path }
    : { path, absence: `${path} is not here; ATENTO_SHARED can tell where it is` };
}
