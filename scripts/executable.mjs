// Makes the commands of package.json executable: npm does so where it links them, but not again once it has a link to this
// directory, as after a new clone in the place of an old one.
import { chmodSync, readFileSync } from "node:fs";

const root = new URL("..", import.meta.url);
const { bin } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
for (const path of Object.values(bin)) chmodSync(new URL(path, root), 0o755);
