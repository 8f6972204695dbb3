import { gridLines } from "./axes.ts";
import { type Context, colorOf } from "./context.ts";
import type { GateLayer } from "./data.ts";
import { bytesOf, choice, h, onWidth, s } from "./dom.ts";
import { mark } from "./marks.ts";
import { rampColor } from "./overlay.ts";
import { scale } from "./scale.ts";

interface Gate {
  readonly layer: GateLayer;
  readonly classes: number;
  /** Channels, or places of a map. */
  readonly units: number;
  /** [classes, units] from 0 to 1. */
  readonly values: Float32Array;
  /** Of each unit over classes. */
  readonly means: Float64Array;
}

function gateOf(layer: GateLayer): Gate {
  const [classes, ...rest] = layer.shape;
  const units = rest.reduce((a, b) => a * b, 1);
  const values = Float32Array.from(bytesOf(layer.values), (byte) => byte / 255);
  const means = Float64Array.from({ length: units }, (_, unit) => {
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += values[k * units + unit];
    return sum / classes;
  });
  return { layer, classes, units, values, means };
}

const HEIGHT = 260;
const MARGIN = { left: 44, right: 14, top: 12, bottom: 48 };

/** What the attention modules let through: an overview by stage, and one module in full. */
export function gates(context: Context): HTMLElement {
  const { study, t } = context;
  const layers = study.heatmaps?.gates ?? [];
  if (layers.length === 0) return h("p", {}, t.gates.missing);
  const all = layers.map(gateOf);
  const name = ({ layer }: Gate) => `${layer.variant}: ${layer.layer}`;
  const box = h("div", { class: "plot" });
  onWidth(box, (width) =>
    box.replaceChildren(
      overview(
        context,
        all.filter(({ layer }) => layer.shape.length === 2),
        width,
      ),
    ),
  );
  const detail = h("div");
  const show = (at: string) => detail.replaceChildren(full(context, all[Number(at)]));
  const last = all.findLastIndex(({ layer }) => layer.shape.length === 2);
  const first = Math.max(0, last);
  show(String(first));
  return h(
    "div",
    {},
    h("p", {}, t.gates.intro),
    box,
    h(
      "div",
      { class: "controls" },
      choice(
        t.gates.layer,
        all.map((gate, k) => [String(k), name(gate)] as const),
        String(first),
        show,
      ),
    ),
    detail,
  );
}

/** Deviation between classes, averaged over channels. */
function betweenClasses({ classes, units, values, means }: Gate): number {
  let total = 0;
  for (let unit = 0; unit < units; unit++) {
    let squares = 0;
    for (let k = 0; k < classes; k++) squares += (values[k * units + unit] - means[unit]) ** 2;
    total += Math.sqrt(squares / Math.max(1, classes - 1));
  }
  return total / units;
}

const stageOf = (layer: string) => /layer(\d+)/.exec(layer)?.[1] ?? "";

/** The block a gate is in, whichever module and part of it: variants then stand side by side. */
const blockOf = (layer: string) => layer.split(".").slice(0, 2).join(".");

function overview({ study, t, f }: Context, all: readonly Gate[], width: number): SVGElement {
  const names = [...new Set(all.map(({ layer }) => blockOf(layer.layer)))];
  const column = (width - MARGIN.left - MARGIN.right) / Math.max(1, names.length);
  const y = scale([0, 1], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const variants = [...new Set(all.map(({ layer }) => layer.variant))];
  const stages = [...new Set(names.map(stageOf))];
  return s(
    "svg",
    { width, height: HEIGHT, role: "img", "aria-label": t.gates.label },
    ...gridLines(y, { left: MARGIN.left, right: width - MARGIN.right }, (tick) => f.short(tick)),
    ...stages.map((stage) => {
      const places = names.flatMap((name, k) => (stageOf(name) === stage ? [k] : []));
      const center = MARGIN.left + column * ((places[0] + places[places.length - 1] + 1) / 2);
      return s(
        "text",
        { class: "tick", x: center, y: HEIGHT - 8, "text-anchor": "middle" },
        stage && `${t.gates.stage} ${stage}`,
      );
    }),
    ...all
      .flatMap((gate) => {
        const { layer, means } = gate;
        const place = variants.indexOf(layer.variant);
        const x =
          MARGIN.left + column * (names.indexOf(blockOf(layer.layer)) + (place + 1) / (variants.length + 1));
        const sorted = Float64Array.from(means).sort();
        const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
        const mean = means.reduce((a, b) => a + b, 0) / means.length;
        const spread = betweenClasses(gate);
        return [
          s(
            "line",
            {
              class: "whisker",
              x1: x,
              x2: x,
              y1: y.at(at(0.1)),
              y2: y.at(at(0.9)),
              style: `stroke:${colorOf(study, layer.variant)}`,
            },
            s(
              "title",
              {},
              `${layer.variant}, ${layer.layer}: ${f.fixed(mean, 2)}; ${t.gates.between(f.fixed(spread, 3))}`,
            ),
          ),
          mark(study, layer.variant, x, y.at(mean)),
          column / variants.length > 26 &&
            s(
              "text",
              { class: "tick", x, y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" },
              `± ${f.fixed(spread, 2)}`,
            ),
        ];
      })
      .filter((element): element is SVGLineElement | SVGPathElement => Boolean(element)),
  );
}

/** Every channel and class of a module as a strip of colours; maps of a spatial gate side by side. */
function full({ study, t }: Context, gate: Gate): HTMLElement {
  const { layer, classes, units, values, means } = gate;
  const { classes: names } = study.data;
  const paint = (width: number, height: number, value: (y: number, x: number) => number) => {
    const canvas = h("canvas", { width, height, role: "img" });
    const context = canvas.getContext("2d")!;
    const pixels = context.createImageData(width, height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) pixels.data.set([...rampColor(value(y, x)), 255], 4 * (y * width + x));
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  };
  if (layer.shape.length === 3) {
    const [, height, width] = layer.shape;
    return h(
      "figure",
      {},
      h("figcaption", {}, t.gates.spatial(`${layer.variant}: ${layer.layer}`)),
      h(
        "div",
        { class: "spatial" },
        ...Array.from({ length: classes }, (_, k) => {
          const canvas = paint(width, height, (y, x) => values[k * units + y * width + x]);
          canvas.setAttribute("aria-label", names[k] ?? String(k));
          return h("span", {}, canvas, names[k] ?? String(k));
        }),
      ),
    );
  }
  const order = Array.from(means.keys()).sort((a, b) => means[a] - means[b]);
  const rows = Array.from({ length: classes }, (_, k) => {
    const canvas = paint(units, 1, (_, x) => values[k * units + order[x]]);
    canvas.setAttribute("aria-label", names[k] ?? String(k));
    return h("div", { class: "strip" }, h("span", {}, names[k] ?? String(k)), canvas);
  });
  return h("figure", {}, h("figcaption", {}, t.gates.strip(`${layer.variant}: ${layer.layer}`)), ...rows);
}
