import type { HeatmapImage, HeatmapMethod, HeatmapsPage } from "./data.ts";
import { bytesOf } from "./dom.ts";

/** Colours of a map from little to much; their lightness rises too, so that grey tells the same. */
const RAMP = [
  [24, 15, 62],
  [101, 26, 110],
  [184, 54, 90],
  [240, 112, 50],
  [253, 190, 70],
  [252, 253, 191],
] as const;

export function rampColor(value: number): [number, number, number] {
  const at = Math.min(1, Math.max(0, value)) * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  const part = at - low;
  return [0, 1, 2].map((c) => Math.round(RAMP[low][c] * (1 - part) + RAMP[low + 1][c] * part)) as [
    number,
    number,
    number,
  ];
}

/** A map of 255ths at a place of the image, between the centres of its cells bilinearly. u, v from 0 to 1. */
export function sample(map: Uint8Array, height: number, width: number, v: number, u: number): number {
  const y = Math.min(height - 1, Math.max(0, v * height - 0.5));
  const x = Math.min(width - 1, Math.max(0, u * width - 0.5));
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  const [y1, x1] = [Math.min(height - 1, y0 + 1), Math.min(width - 1, x0 + 1)];
  const [dy, dx] = [y - y0, x - x0];
  const at = (row: number, column: number) => map[row * width + column];
  return (
    ((at(y0, x0) * (1 - dx) + at(y0, x1) * dx) * (1 - dy) + (at(y1, x0) * (1 - dx) + at(y1, x1) * dx) * dy) /
    255
  );
}

/** Pixels a side of a drawn image, at least. */
const DRAWN = 128;

/** Decoded once. */
export class Pictures {
  readonly #images = new Map<string, Promise<HTMLImageElement>>();
  readonly #bytes = new Map<string, Uint8Array>();

  image({ url }: HeatmapImage): Promise<HTMLImageElement> {
    const known = this.#images.get(url);
    if (known) return known;
    const image = new Image();
    image.src = url;
    const decoded = image.decode().then(() => image);
    this.#images.set(url, decoded);
    return decoded;
  }

  bytes(base64: string): Uint8Array {
    const known = this.#bytes.get(base64);
    if (known) return known;
    const bytes = bytesOf(base64);
    this.#bytes.set(base64, bytes);
    return bytes;
  }
}

export interface Overlay {
  readonly image: HeatmapImage;
  readonly size: HeatmapsPage["size"];
  /** The place of the image's map among the method's. */
  readonly map?: { readonly method: HeatmapMethod; readonly at: number };
  readonly strength: number;
  readonly outline: boolean;
}

/** Draws an image, its map over it and the object's outline. */
export async function draw(canvas: HTMLCanvasElement, pictures: Pictures, overlay: Overlay): Promise<void> {
  const { image, size, map, strength, outline } = overlay;
  const [height, width] = size;
  const zoom = Math.max(1, Math.ceil(DRAWN / Math.max(height, width)));
  const picture = await pictures.image(image);
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (map?.method.maps !== undefined && strength > 0) {
    const { method, at } = map;
    const cells = method.height * method.width;
    const values = pictures.bytes(method.maps!).subarray(at * cells, (at + 1) * cells);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const value = sample(
          values,
          method.height,
          method.width,
          (y + 0.5) / canvas.height,
          (x + 0.5) / canvas.width,
        );
        const color = rampColor(value);
        const place = 4 * (y * canvas.width + x);
        for (let c = 0; c < 3; c++) pixels.data[place + c] += (color[c] - pixels.data[place + c]) * strength;
      }
    }
    context.putImageData(pixels, 0, 0);
  }
  if (outline && image.mask !== undefined) drawOutline(context, pictures.bytes(image.mask), size, zoom);
}

function drawOutline(
  context: CanvasRenderingContext2D,
  mask: Uint8Array,
  [height, width]: HeatmapsPage["size"],
  zoom: number,
): void {
  const inside = (y: number, x: number) =>
    y >= 0 && x >= 0 && y < height && x < width && mask[y * width + x] > 0;
  const path = new Path2D();
  const edge = (x0: number, y0: number, x1: number, y1: number) => {
    path.moveTo(x0 * zoom, y0 * zoom);
    path.lineTo(x1 * zoom, y1 * zoom);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(y, x)) continue;
      if (!inside(y - 1, x)) edge(x, y, x + 1, y);
      if (!inside(y + 1, x)) edge(x, y + 1, x + 1, y + 1);
      if (!inside(y, x - 1)) edge(x, y, x, y + 1);
      if (!inside(y, x + 1)) edge(x + 1, y, x + 1, y + 1);
    }
  }
  context.lineCap = "square";
  for (const [color, line] of [
    ["#000", 3],
    ["#fff", 1.3],
  ] as const) {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.stroke(path);
  }
}
