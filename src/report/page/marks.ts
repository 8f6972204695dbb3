import { colorOf } from "./context.ts";
import type { StudyPage } from "./data.ts";
import { s } from "./dom.ts";

/** Outlines of marks of about equal area around the origin; they tell variants apart without colour. */
const SHAPES = [
  "M-4.4,0a4.4,4.4 0 1,0 8.8,0a4.4,4.4 0 1,0 -8.8,0Z",
  "M-4,-4h8v8h-8Z",
  "M0,-5.4L5.2,3.8H-5.2Z",
  "M0,-5.8L5.4,0L0,5.8L-5.4,0Z",
  "M0,5.4L5.2,-3.8H-5.2Z",
  "M-1.6,-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4Z",
];

export function mark(study: StudyPage, variant: string, x: number, y: number): SVGPathElement {
  const place = study.variants.findIndex(({ name }) => name === variant);
  return s("path", {
    d: SHAPES[place % SHAPES.length],
    transform: `translate(${x},${y})`,
    style: `fill:${colorOf(study, variant)}`,
    class: "mark",
  });
}

/** The line and mark of a variant, for legends. */
export function swatch(study: StudyPage, variant: string): SVGSVGElement {
  const { stroke } = study.variants.find(({ name }) => name === variant)!;
  return s(
    "svg",
    { width: 34, height: 14, viewBox: "-17 -7 34 14", "aria-hidden": "true", class: "swatch" },
    s("line", {
      x1: -16,
      x2: 16,
      y1: 0,
      y2: 0,
      style: `stroke:${colorOf(study, variant)}`,
      "stroke-width": 2.2,
      "stroke-dasharray": stroke.dash.join(" ") || undefined,
    }),
    mark(study, variant, 0, 0),
  );
}
