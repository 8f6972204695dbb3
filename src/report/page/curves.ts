import type { EpochRecord } from "../../train/types.ts";
import { gridLines } from "./axes.ts";
import { type Context, colorOf, severalSeeds } from "./context.ts";
import { checkbox, h, onWidth, s, slider, switcher } from "./dom.ts";
import { mark, swatch } from "./marks.ts";
import { type Scale, scale } from "./scale.ts";
import { type Point, seriesOf } from "./series.ts";

type Metric = "accuracy" | "loss";
type Part = "training" | "validation";

const FIELDS: Readonly<Record<Metric, Readonly<Record<Part, (record: EpochRecord) => number | undefined>>>> =
  {
    accuracy: { training: (r) => r.trainAccuracy, validation: (r) => r.validationAccuracy },
    loss: { training: (r) => r.trainLoss, validation: (r) => r.validationLoss },
  };

interface Curve {
  readonly variant: string;
  readonly points: readonly Point[];
}

const HEIGHT = 300;
const MARGIN = { left: 52, right: 14, top: 10, bottom: 36 };

/** Accuracy and loss an epoch, training beside validation: hover, zoom, logarithmic scale, smoothing. */
export function curves(context: Context): HTMLElement {
  const { study, t } = context;
  const longest = Math.max(0, ...study.runs.flatMap(({ records }) => records.map(({ epoch }) => epoch)));
  if (longest === 0) return h("p", {}, t.curves.none);
  const state = {
    metric: "accuracy" as Metric,
    log: false,
    smoothing: 0,
    hidden: new Set<string>(),
    zoom: [1, Math.max(2, longest)] as [number, number],
    epoch: undefined as number | undefined,
  };
  const panels = (["training", "validation"] as const).map((part) => panel(context, part));
  const drawAll = () => {
    for (const one of panels) one.draw();
  };

  function panel({ study, t, f }: Context, part: Part) {
    const box = h("div", { class: "plot" });
    const tip = h("div", { class: "tip", hidden: true, "aria-live": "polite" });
    const figure = h("figure", { class: "panel" }, h("figcaption", {}, t.curves[part]), box, tip);
    let width = 0;
    let x: Scale | undefined;
    onWidth(box, (now) => {
      width = now;
      draw();
    });

    function draw(): void {
      const all = study.variants
        .map(
          ({ name }): Curve => ({
            variant: name,
            points: seriesOf(study.runs, name, FIELDS[state.metric][part], state.smoothing),
          }),
        )
        .filter(({ points }) => points.length > 0);
      figure.hidden = all.length === 0;
      if (width === 0 || all.length === 0) return;
      const shown = all.filter(({ variant }) => !state.hidden.has(variant));
      const [from, to] = state.zoom;
      x = scale(state.zoom, [MARGIN.left, width - MARGIN.right], {
        ticks: Math.max(2, Math.floor(width / 70)),
      });
      const inside = shown.flatMap(({ points }) =>
        points.filter(({ epoch }) => epoch >= from && epoch <= to),
      );
      const y = scale(range(inside, state.log), [HEIGHT - MARGIN.bottom, MARGIN.top], { log: state.log });
      const show = (value: number) =>
        state.metric === "accuracy"
          ? f.percent(value, y.domain[1] - y.domain[0] < 0.03 ? 1 : 0)
          : f.short(value);
      const clip = `clip-${part}-${study.name.replace(/\W/g, "-")}`;
      const svg = s(
        "svg",
        {
          width,
          height: HEIGHT,
          role: "img",
          tabindex: 0,
          "aria-label": t.curves.label(
            t.curves[part],
            t.curves[state.metric],
            shown.map(({ variant }) => variant).join(", "),
          ),
          pointermove: (event: PointerEvent) => hover(x!.value(position(event))),
          pointerleave: () => hover(undefined),
          pointerdown: (event: PointerEvent) => drag(svg, event),
          dblclick: () => zoomTo(1, longest),
          keydown: keyed,
        },
        s(
          "clipPath",
          { id: clip },
          s("rect", {
            x: MARGIN.left,
            y: 0,
            width: width - MARGIN.left - MARGIN.right,
            height: HEIGHT - MARGIN.bottom + 1,
          }),
        ),
        ...gridLines(y, { left: MARGIN.left, right: width - MARGIN.right }, (tick) => show(tick)),
        ...x.ticks
          .filter(Number.isInteger)
          .map((tick) =>
            s(
              "text",
              { class: "tick", x: x!.at(tick), y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle" },
              f.count(tick),
            ),
          ),
        s(
          "text",
          { class: "axis", x: width - MARGIN.right, y: HEIGHT - 3, "text-anchor": "end" },
          t.curves.epoch,
        ),
        s(
          "g",
          { "clip-path": `url(#${clip})` },
          ...shown
            .filter(({ points }) => points.some(({ low, high }) => high > low))
            .map((curve) => band(curve, x!, y)),
          ...shown.flatMap((curve) => line(curve, x!, y)),
        ),
        ...crosshair(shown, x, y, state.epoch),
      );
      const focused = document.activeElement === box.firstElementChild && box.firstElementChild !== null;
      box.replaceChildren(svg);
      if (focused) svg.focus({ preventScroll: true });
      tell(shown);
    }

    const band = ({ variant, points }: Curve, x: Scale, y: Scale) => {
      const floor = y.domain[0];
      const at = (value: number) => y.at(Math.max(value, floor));
      const upper = points.map(({ epoch, high }) => `${x.at(epoch)},${at(high)}`);
      const lower = points.map(({ epoch, low }) => `${x.at(epoch)},${at(low)}`).reverse();
      return s("polygon", {
        class: "band",
        points: [...upper, ...lower].join(" "),
        style: `fill:${colorOf(study, variant)}`,
      });
    };

    const line = ({ variant, points }: Curve, x: Scale, y: Scale): SVGElement[] => {
      const { dash } = study.variants.find(({ name }) => name === variant)!.stroke;
      const at = points.map(({ epoch, mean }) => [x.at(epoch), y.at(Math.max(mean, y.domain[0]))] as const);
      const every = Math.max(1, Math.ceil(points.length / 8));
      return [
        s("polyline", {
          class: "curve",
          points: at.map(([px, py]) => `${px},${py}`).join(" "),
          style: `stroke:${colorOf(study, variant)}`,
          "stroke-dasharray": dash.join(" ") || undefined,
        }),
        ...at
          .filter((_, k) => k % every === every - 1 || k === at.length - 1)
          .map(([px, py]) => mark(study, variant, px, py)),
      ];
    };

    function tell(shown: readonly Curve[]): void {
      tip.hidden = state.epoch === undefined;
      if (state.epoch === undefined || !x) return;
      const rows = shown.flatMap(({ variant, points }) => {
        const point = points.find(({ epoch }) => epoch === state.epoch);
        return point ? [{ variant, point }] : [];
      });
      const sign = state.metric === "accuracy" || state.metric !== "loss" ? -1 : 1;
      rows.sort((a, b) => sign * (a.point.mean - b.point.mean));
      const value = (v: number) => (state.metric === "accuracy" ? f.percent(v) : f.fixed(v, 4));
      tip.replaceChildren(
        h("strong", {}, `${t.curves.epoch} ${f.count(state.epoch)}`),
        ...rows.map(({ variant, point }) =>
          h("span", {}, swatch(study, variant), `${variant} `, h("b", {}, value(point.mean))),
        ),
      );
      const at = x.at(state.epoch);
      const left = at > width / 2;
      tip.style.left = left ? "auto" : `${at + 14}px`;
      tip.style.right = left ? `${width - at + 14}px` : "auto";
    }

    function drag(svg: SVGSVGElement, start: PointerEvent): void {
      if (start.button !== 0) return;
      const begin = position(start);
      const veil = s("rect", {
        class: "veil",
        y: MARGIN.top,
        height: HEIGHT - MARGIN.top - MARGIN.bottom,
        width: 0,
      });
      svg.append(veil);
      const move = (event: PointerEvent) => {
        const rect = box.getBoundingClientRect();
        const now = event.clientX - rect.left;
        veil.setAttribute("x", String(Math.min(begin, now)));
        veil.setAttribute("width", String(Math.abs(now - begin)));
        if (!veil.isConnected) box.firstElementChild?.append(veil);
      };
      const up = (event: PointerEvent) => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", up);
        removeEventListener("pointercancel", up);
        veil.remove();
        const end = event.clientX - box.getBoundingClientRect().left;
        if (event.type === "pointerup" && Math.abs(end - begin) > 12 && x) {
          const [a, b] = [x.value(begin), x.value(end)].sort((p, q) => p - q);
          zoomTo(a, b);
        }
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", up);
      addEventListener("pointercancel", up);
    }

    return { figure, draw };
  }

  const position = (event: PointerEvent) =>
    event.clientX - (event.currentTarget as Element).getBoundingClientRect().left;

  function hover(value: number | undefined): void {
    const epoch = value === undefined ? undefined : Math.min(longest, Math.max(1, Math.round(value)));
    if (epoch === state.epoch) return;
    state.epoch = epoch;
    drawAll();
  }

  function zoomTo(from: number, to: number): void {
    const low = Math.max(1, Math.floor(from));
    const high = Math.min(Math.max(2, longest), Math.max(low + 1, Math.ceil(to)));
    state.zoom = [Math.min(low, high - 1), high];
    drawAll();
  }

  function zoomBy(factor: number): void {
    const [from, to] = state.zoom;
    const center = state.epoch ?? (from + to) / 2;
    zoomTo(center - (center - from) * factor, center + (to - center) * factor);
  }

  function keyed(event: KeyboardEvent): void {
    const keys: Record<string, () => void> = {
      ArrowRight: () => hover((state.epoch ?? state.zoom[0] - 1) + 1),
      ArrowLeft: () => hover((state.epoch ?? state.zoom[1] + 1) - 1),
      Home: () => hover(state.zoom[0]),
      End: () => hover(state.zoom[1]),
      "+": () => zoomBy(0.5),
      "-": () => zoomBy(2),
      "0": () => zoomTo(1, longest),
      Escape: () => hover(undefined),
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  const legend = h(
    "div",
    { class: "legend", role: "group", "aria-label": t.curves.variants },
    ...study.variants.map(({ name }) => {
      const button: HTMLButtonElement = h(
        "button",
        {
          type: "button",
          "aria-pressed": "true",
          click: () => {
            const hide = !state.hidden.has(name);
            if (hide) state.hidden.add(name);
            else state.hidden.delete(name);
            button.setAttribute("aria-pressed", String(!hide));
            drawAll();
          },
        },
        swatch(study, name),
        name,
      );
      return button;
    }),
  );
  const button = (text: string, act: () => void) => h("button", { type: "button", click: act }, text);
  return h(
    "div",
    { class: "curves" },
    h(
      "div",
      { class: "controls" },
      switcher(
        t.curves.metric,
        [
          ["accuracy", t.curves.accuracy],
          ["loss", t.curves.loss],
        ],
        state.metric,
        (metric) => {
          state.metric = metric as Metric;
          drawAll();
        },
      ),
      checkbox(t.curves.log, state.log, (on) => {
        state.log = on;
        drawAll();
      }),
      slider(t.curves.smoothing, { min: 0, max: 0.95, step: 0.05, value: 0 }, (weight) => {
        state.smoothing = weight;
        drawAll();
      }),
      h(
        "div",
        { class: "buttons" },
        button(t.curves.zoomIn, () => zoomBy(0.5)),
        button(t.curves.zoomOut, () => zoomBy(2)),
        button(t.curves.all, () => zoomTo(1, longest)),
      ),
    ),
    legend,
    h("div", { class: "panels" }, ...panels.map(({ figure }) => figure)),
    h("p", { class: "note" }, t.curves.hint, " ", t.curves.band(severalSeeds(study))),
  );

  function crosshair(shown: readonly Curve[], x: Scale, y: Scale, epoch: number | undefined): SVGElement[] {
    if (epoch === undefined || epoch < state.zoom[0] || epoch > state.zoom[1]) return [];
    const points = shown.flatMap(({ variant, points }) => {
      const point = points.find((p) => p.epoch === epoch);
      return point && point.mean >= y.domain[0] && point.mean <= y.domain[1]
        ? [
            s("circle", {
              class: "hovered",
              cx: x.at(epoch),
              cy: y.at(point.mean),
              r: 5,
              style: `stroke:${colorOf(study, variant)}`,
            }),
          ]
        : [];
    });
    return [
      s("line", {
        class: "crosshair",
        x1: x.at(epoch),
        x2: x.at(epoch),
        y1: MARGIN.top,
        y2: HEIGHT - MARGIN.bottom,
      }),
      ...points,
    ];
  }
}

/** What the points span, with a little air; on a logarithmic axis without what is not above zero. */
function range(points: readonly Point[], log: boolean): [number, number] {
  const lows = points.map(({ low }) => low).filter((value) => !log || value > 0);
  const highs = points.map(({ high }) => high).filter((value) => !log || value > 0);
  if (lows.length === 0) return log ? [0.1, 1] : [0, 1];
  const [low, high] = [Math.min(...lows), Math.max(...highs)];
  if (log) return [low / 1.05, high * 1.05 + 1e-12];
  const pad = 0.05 * (high - low || Math.abs(high) || 1);
  return [Math.max(low >= 0 ? 0 : low - pad, low - pad), high <= 1 ? Math.min(1, high + pad) : high + pad];
}
