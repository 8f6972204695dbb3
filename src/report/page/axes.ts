import { s } from "./dom.ts";
import type { Scale } from "./scale.ts";

/** Lines across a chart at the ticks of its vertical axis, each with its number at the left. */
export function gridLines(
  y: Scale,
  { left, right }: { readonly left: number; readonly right: number },
  show: (tick: number) => string,
): SVGElement[] {
  return y.ticks.flatMap((tick) => [
    s("line", { class: "grid", x1: left, x2: right, y1: y.at(tick), y2: y.at(tick) }),
    s("text", { class: "tick", x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, show(tick)),
  ]);
}
