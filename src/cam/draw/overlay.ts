import type { Colormap } from "./colormaps.ts";

/** Bytes [H,W,3]. */
export interface Picture {
  readonly pixels: Uint8Array;
  readonly height: number;
  readonly width: number;
}

const LEVELS = 256;

/** A map [H,W] from 0 to 1 in colours. */
export function colored(map: Float32Array, height: number, width: number, colormap: Colormap): Picture {
  const table = Array.from({ length: LEVELS }, (_, k) => colormap(k / (LEVELS - 1)));
  const pixels = new Uint8Array(3 * map.length);
  map.forEach((value, p) => {
    const color = table[Math.round(Math.min(1, Math.max(0, value)) * (LEVELS - 1))];
    for (let c = 0; c < 3; c++) pixels[3 * p + c] = Math.round(color[c]);
  });
  return { pixels, height, width };
}

/** (1 − alpha)·photograph + alpha·heatmap, pixel by pixel; both of one size. */
export function overlaid(photograph: Picture, heatmap: Picture, alpha: number): Picture {
  const pixels = photograph.pixels.map((value, i) =>
    Math.round((1 - alpha) * value + alpha * heatmap.pixels[i]),
  );
  return { ...photograph, pixels };
}

/** Each pixel as a square of `zoom` pixels. */
export function enlarged({ pixels, height, width }: Picture, zoom: number): Picture {
  const out = new Uint8Array(pixels.length * zoom * zoom);
  for (let y = 0; y < height * zoom; y++) {
    for (let x = 0; x < width * zoom; x++) {
      const from = 3 * (Math.floor(y / zoom) * width + Math.floor(x / zoom));
      out.set(pixels.subarray(from, from + 3), 3 * (y * width * zoom + x));
    }
  }
  return { pixels: out, height: height * zoom, width: width * zoom };
}
