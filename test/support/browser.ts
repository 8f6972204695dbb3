import { existsSync } from "node:fs";

const places = [
  process.env["ATENTO_CHROMIUM"] ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** Where Chromium is; undefined where there is none. */
export const chromiumPath = places.find((path) => path !== "" && existsSync(path));

/** Why pages are not tested; undefined when they are. */
export const noBrowser = chromiumPath
  ? undefined
  : "no Chromium here: apt-get install chromium, or tell where it is with ATENTO_CHROMIUM";

if (noBrowser && process.env["ATENTO_REQUIRE_BROWSER"]) throw new Error(noBrowser);
