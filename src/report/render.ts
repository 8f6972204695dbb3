import { createRequire } from "node:module";
import { renderAsync } from "@resvg/resvg-js";
import type { TopLevelSpec } from "vega-lite";
import { FONT } from "./style.ts";

export interface Picture {
  readonly svg: string;
  readonly png: Buffer;
}

const ZOOM = 2;

/** One specification as SVG, and as PNG at twice its size; the font comes along, since a machine may have none. */
export async function renderChart(spec: TopLevelSpec): Promise<Picture> {
  // loaded when a chart is drawn: no other command should wait for it
  const [{ parse, View }, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  try {
    const svg = await view.toSVG();
    const { resolve } = createRequire(import.meta.url);
    const fontFiles = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"].map((file) =>
      resolve(`dejavu-fonts-ttf/ttf/${file}`),
    );
    const image = await renderAsync(svg, {
      font: { fontFiles, loadSystemFonts: false, defaultFontFamily: FONT },
      fitTo: { mode: "zoom", value: ZOOM },
      background: "#ffffff",
    });
    return { svg, png: image.asPng() };
  } finally {
    view.finalize();
  }
}
