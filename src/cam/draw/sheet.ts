import { createRequire } from "node:module";
import { Resvg } from "@resvg/resvg-js";
import sharp from "sharp";
import type { Picture } from "./overlay.ts";

export interface Cell {
  readonly picture: Picture;
  /** One line below it. */
  readonly caption: string;
  /** Whether the caption says something wrong, such as another class than the true one. */
  readonly wrong?: boolean;
}

export interface Sheet {
  readonly title: string;
  /** One a column. */
  readonly columns: readonly string[];
  readonly rows: readonly { readonly title: string; readonly cells: readonly Cell[] }[];
}

const GAP = 10;
const FONT = "DejaVu Sans";
const TITLE = { size: 16, line: 30 };
const LABEL = { size: 14, line: 24 };
const CAPTION = { size: 13, line: 24 };
/** Widest letters of the font over its size, on average: text is never drawn wider than this. */
const LETTER = 0.66;
const [INK, QUIET, WRONG] = ["#222222", "#555555", "#b3261e"];

const widthOf = (text: string, size: number) => Math.ceil([...text].length * size * LETTER);

/** What fits into a width, its end left out where it must be. */
function fitted(text: string, width: number, size: number): string {
  const most = Math.max(1, Math.floor(width / (size * LETTER)));
  return [...text].length <= most ? text : `${[...text].slice(0, most - 1).join("")}…`;
}

/** A PNG of pictures in rows and columns with their labels. All pictures stand in the middle of equal cells. */
export async function drawSheet({ title, columns, rows }: Sheet): Promise<Buffer> {
  const cells = rows.flatMap((row) => row.cells);
  const cellHeight = Math.max(...cells.map(({ picture }) => picture.height));
  // as wide as its picture, its title and most captions need
  const texts = [
    ...columns.map((text) => widthOf(text, LABEL.size)),
    ...cells.map(({ caption }) => widthOf(caption, CAPTION.size)),
  ];
  const widest = Math.max(...cells.map(({ picture }) => picture.width));
  const cellWidth = Math.max(widest, Math.min(widest + 60, Math.max(...texts)));
  const labelWidth = Math.min(220, Math.max(...rows.map((row) => widthOf(row.title, LABEL.size))));
  const left = GAP + labelWidth + GAP;
  const top = GAP + TITLE.line + LABEL.line;
  const across = Math.max(...rows.map((row) => row.cells.length), columns.length);
  const width = Math.max(left + across * (cellWidth + GAP), 2 * GAP + widthOf(title, TITLE.size));
  const step = cellHeight + CAPTION.line + GAP;
  const height = top + rows.length * step;
  const x = (column: number) => left + column * (cellWidth + GAP);
  const y = (row: number) => top + row * step;

  const middle = cellWidth / 2;
  const texted = [
    text(GAP, GAP + TITLE.size, fitted(title, width - 2 * GAP, TITLE.size), TITLE.size, INK, "start", true),
    ...columns.map((name, k) =>
      text(x(k) + middle, top - 8, fitted(name, cellWidth, LABEL.size), LABEL.size, INK, "middle", true),
    ),
    ...rows.flatMap((row, r) => [
      text(
        GAP,
        y(r) + cellHeight / 2 + 5,
        fitted(row.title, labelWidth, LABEL.size),
        LABEL.size,
        INK,
        "start",
      ),
      ...row.cells.map(({ caption, wrong }, k) =>
        text(
          x(k) + middle,
          y(r) + cellHeight + 16,
          fitted(caption, cellWidth, CAPTION.size),
          CAPTION.size,
          wrong ? WRONG : QUIET,
          "middle",
        ),
      ),
    ]),
  ];
  const canvas = render(texted, width, height);
  rows.forEach((row, r) => {
    row.cells.forEach(({ picture }, k) => {
      const dx = Math.floor((cellWidth - picture.width) / 2);
      const dy = Math.floor((cellHeight - picture.height) / 2);
      paste(canvas, picture, x(k) + dx, y(r) + dy);
    });
  });
  return sharp(canvas.pixels, { raw: { width, height, channels: 4 } })
    .removeAlpha()
    .png({ compressionLevel: 9 })
    .toBuffer();
}

function text(
  ...[x, y, content, size, fill, anchor, bold]: [number, number, string, number, string, string, boolean?]
): string {
  const weight = bold ? ' font-weight="bold"' : "";
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" text-anchor="${anchor}"${weight}>${escaped(content)}</text>`;
}

const escaped = (content: string) =>
  content.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

interface Canvas {
  /** [H,W,4]. */
  readonly pixels: Uint8Array;
  readonly width: number;
}

/** The font comes along, since a machine may have none at all and text would then vanish. */
function render(texts: readonly string[], width: number, height: number): Canvas {
  const { resolve } = createRequire(import.meta.url);
  const fontFiles = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"].map((file) =>
    resolve(`dejavu-fonts-ttf/ttf/${file}`),
  );
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="#fff"/><g font-family="${FONT}">${texts.join("")}</g></svg>`;
  const font = { fontFiles, loadSystemFonts: false, defaultFontFamily: FONT };
  return { pixels: new Uint8Array(new Resvg(svg, { font }).render().pixels), width };
}

function paste(canvas: Canvas, { pixels, height, width }: Picture, x: number, y: number): void {
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const target = 4 * ((y + row) * canvas.width + x + column);
      for (let c = 0; c < 3; c++) canvas.pixels[target + c] = pixels[3 * (row * width + column) + c];
    }
  }
}
