import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UserError } from "../tensor/errors.ts";

/**
 * The compiled program of a thread, which lies beside the module that starts it; where the sources run as they are
 * (tests), the one in dist/. @throws UserError when it was not built.
 */
export function threadProgram(module: string, name: string): URL {
  const compiled = module.endsWith(".ts") ? module.replace(/\/src\/(?!.*\/src\/)/, "/dist/") : module;
  const url = new URL(`./${name}.js`, compiled);
  if (!existsSync(url)) throw new UserError(`${fileURLToPath(url)}: missing: npm run build:ts makes it`);
  return url;
}
