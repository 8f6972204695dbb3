import { createRequire } from "node:module";
import { Resvg } from "@resvg/resvg-js";
import sharp from "sharp";
import { UserError } from "../tensor/errors.ts";
import type { Dataset, Split } from "./dataset.ts";

export interface ContactSheetOptions {
  /** Images a class: its first ones in the split. */
  readonly perClass: number;
  readonly split: "train" | "test";
  /** Draws the object's outline, where the data set has masks. */
  readonly masks?: boolean;
  /** Screen pixels a pixel; default: as many as make an image at least 64 wide. */
  readonly zoom?: number;
}

const GAP = 6;
const FONT_SIZE = 15;
const OUTLINE = [255, 0, 160];

/** A PNG with a row a class: its name, then images enlarged without smoothing. Throws UserError for bad counts. */
export async function contactSheet(dataset: Dataset, options: ContactSheetOptions): Promise<Buffer> {
  const { perClass } = options;
  if (!Number.isInteger(perClass) || perClass < 1) {
    throw new UserError(`contact sheet: expected at least 1 image a class, got ${perClass}`);
  }
  const { classes, height, width } = dataset;
  const split = dataset[options.split];
  const zoom = options.zoom ?? Math.max(1, Math.ceil(64 / width));
  const rows = firstOfEachClass(split, classes.length, perClass);
  const cellHeight = Math.max(height * zoom, FONT_SIZE + 4) + GAP;
  const cellWidth = width * zoom + GAP;
  const labelWidth = Math.ceil(Math.max(...classes.map((name) => name.length)) * FONT_SIZE * 0.66) + 2 * GAP;

  const canvas = drawLabels(
    classes,
    labelWidth + perClass * cellWidth,
    classes.length * cellHeight + GAP,
    cellHeight,
  );
  rows.forEach((images, row) => {
    images.forEach((index, column) => {
      const at = { x: labelWidth + column * cellWidth, y: GAP + row * cellHeight, zoom };
      paste(canvas, dataset, split, index, at);
      if (options.masks && split.masks) outlineMask(canvas, dataset, split.masks, index, at);
    });
  });
  const { pixels, width: sheetWidth, height: sheetHeight } = canvas;
  return sharp(pixels, { raw: { width: sheetWidth, height: sheetHeight, channels: 4 } })
    .removeAlpha()
    .png()
    .toBuffer();
}

interface Canvas {
  /** [H,W,4]. */
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
}

function firstOfEachClass(split: Split, classes: number, perClass: number): number[][] {
  const rows: number[][] = Array.from({ length: classes }, () => []);
  split.labels.forEach((label, i) => {
    if (rows[label].length < perClass) rows[label].push(i);
  });
  return rows;
}

/** The font comes along, since a machine may have none at all and text would then vanish. */
function drawLabels(classes: readonly string[], width: number, height: number, cellHeight: number): Canvas {
  const fontFile = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans.ttf");
  const labels = classes.map((name, row) => {
    const y = GAP / 2 + (row + 0.5) * cellHeight + FONT_SIZE * 0.36;
    return `<text x="${GAP}" y="${y}">${escapeXml(name)}</text>`;
  });
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="#fff"/>` +
    `<g font-family="DejaVu Sans" font-size="${FONT_SIZE}" fill="#222">${labels.join("")}</g></svg>`;
  const font = { fontFiles: [fontFile], loadSystemFonts: false, defaultFontFamily: "DejaVu Sans" };
  const image = new Resvg(svg, { font }).render();
  return { pixels: new Uint8Array(image.pixels), width: image.width, height: image.height };
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function paste(
  canvas: Canvas,
  { height, width }: Dataset,
  split: Split,
  index: number,
  { x, y, zoom }: Place,
): void {
  const from = index * height * width * 3;
  for (let row = 0; row < height * zoom; row++) {
    for (let column = 0; column < width * zoom; column++) {
      const source = from + 3 * (Math.floor(row / zoom) * width + Math.floor(column / zoom));
      const target = 4 * ((y + row) * canvas.width + x + column);
      for (let c = 0; c < 3; c++) canvas.pixels[target + c] = split.images[source + c];
    }
  }
}

/** Colours the screen pixels inside the mask that touch its border. */
function outlineMask(
  canvas: Canvas,
  { height, width }: Dataset,
  masks: Uint8Array,
  index: number,
  at: Place,
): void {
  const { x, y, zoom } = at;
  const inside = (row: number, column: number) => {
    const [h, w] = [Math.floor(row / zoom), Math.floor(column / zoom)];
    return h >= 0 && w >= 0 && h < height && w < width && masks[(index * height + h) * width + w] === 1;
  };
  for (let row = 0; row < height * zoom; row++) {
    for (let column = 0; column < width * zoom; column++) {
      if (!inside(row, column)) continue;
      const whole =
        inside(row - 1, column) &&
        inside(row + 1, column) &&
        inside(row, column - 1) &&
        inside(row, column + 1);
      if (!whole) canvas.pixels.set(OUTLINE, 4 * ((y + row) * canvas.width + x + column));
    }
  }
}
