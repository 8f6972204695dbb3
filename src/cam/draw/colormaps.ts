import {
  interpolateCividis,
  interpolateInferno,
  interpolateMagma,
  interpolatePlasma,
  interpolateViridis,
} from "d3-scale-chromatic";

/** Value from 0 to 1 → red, green, blue from 0 to 255. */
export type Colormap = (value: number) => readonly [number, number, number];

/** Values between the corners [place, value] of a polyline. */
const along = (corners: readonly (readonly [number, number])[]) => (x: number) => {
  const k = Math.max(
    1,
    corners.findIndex(([place]) => x <= place),
  );
  const [[x0, y0], [x1, y1]] = [corners[k - 1], corners[k]];
  return y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
};

// matplotlib's jet, whose corners are its definition
const [red, green, blue] = [
  along([
    [0, 0],
    [0.35, 0],
    [0.66, 1],
    [0.89, 1],
    [1, 0.5],
  ]),
  along([
    [0, 0],
    [0.125, 0],
    [0.375, 1],
    [0.64, 1],
    [0.91, 0],
    [1, 0],
  ]),
  along([
    [0, 0.5],
    [0.11, 1],
    [0.34, 1],
    [0.65, 0],
    [1, 0],
  ]),
];

/** From CSS's hexadecimal or rgb() notation. */
function parsed(color: string): readonly [number, number, number] {
  const hexadecimal = /^#(..)(..)(..)$/.exec(color);
  const parts = hexadecimal
    ? hexadecimal.slice(1).map((digits) => Number.parseInt(digits, 16))
    : (color.match(/\d+/g) ?? []).map(Number);
  return [parts[0], parts[1], parts[2]];
}

/** By name: `jet`, as the field has always drawn heatmaps, and perceptually uniform ones. */
export const colormaps: Readonly<Record<string, Colormap>> = {
  jet: (x) => [255 * red(x), 255 * green(x), 255 * blue(x)],
  viridis: (x) => parsed(interpolateViridis(x)),
  magma: (x) => parsed(interpolateMagma(x)),
  inferno: (x) => parsed(interpolateInferno(x)),
  plasma: (x) => parsed(interpolatePlasma(x)),
  cividis: (x) => parsed(interpolateCividis(x)),
};
