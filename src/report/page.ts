import { readFile } from "node:fs/promises";
import { UserError } from "../tensor/errors.ts";
import type { PageData } from "./page/data.ts";
import { TEXTS } from "./page/texts/index.ts";

/** Where scripts/page.mjs puts what it bundles. */
const built = new URL("../../dist/page/", import.meta.url);

const escapeHtml = (text: string) => text.replaceAll(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** The report as one HTML file that needs nothing else and may reach nothing else. */
export async function pageHtml(data: PageData): Promise<string> {
  const [script, style] = await Promise.all([read("page.js"), read("style.css")]);
  const title = TEXTS[data.language].title(data.studies.map(({ name }) => name).join(", "));
  // inside a script element only </script and <!-- mean anything
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="${data.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<script id="data" type="application/json">${json}</script>
<script>${script.replaceAll("</script", "<\\/script")}</script>
</body>
</html>
`;
}

async function read(name: string): Promise<string> {
  const path = new URL(name, built);
  return readFile(path, "utf8").catch(() => {
    throw new UserError(`${path.pathname}: the page's script is not built: npm run build:ts builds it`);
  });
}
