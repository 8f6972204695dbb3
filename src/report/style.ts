/** How a variant is drawn everywhere: its colour, and a dash that tells it apart without colour. */
export interface Stroke {
  readonly color: string;
  readonly dash: readonly number[];
}

/** Okabe and Ito's colours for any kind of colour vision, the light ones darkened to be read on white. */
const COLORS = ["#333333", "#0072b2", "#d55e00", "#00835f", "#b0558b", "#9a6a00", "#3f8fbf", "#7a2048"];
/** The same, light enough for a dark page. */
const ON_DARK = ["#e4e4e4", "#5ab4f0", "#ff8f4d", "#3ecf9b", "#e59ac9", "#e0b040", "#a3d5f5", "#e08aac"];
const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3], [1, 3], [9, 2, 2, 2, 2, 2]];

/** The stroke of the variant at this place in the study; after eight, dashes go on to tell equal colours apart. */
export function strokeOf(index: number): Stroke {
  const round = Math.floor(index / COLORS.length);
  return { color: COLORS[index % COLORS.length], dash: DASHES[(index + round) % DASHES.length] };
}

/** The colour of the variant at this place on a dark page. */
export const darkOf = (index: number): string => ON_DARK[index % ON_DARK.length];

/** Marks that tell variants apart without colour, by the names vega has for them. */
const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"];
export const shapeOf = (index: number): string => SHAPES[index % SHAPES.length];

export const FONT = "DejaVu Sans";
export const INK = "#222222";
export const QUIET = "#666666";
export const GRID = "#e4e4e4";
