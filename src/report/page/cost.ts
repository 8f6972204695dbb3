import { gridLines } from "./axes.ts";
import { type Context, colorOf, severalSeeds } from "./context.ts";
import { h, onWidth, s, switcher } from "./dom.ts";
import { mark } from "./marks.ts";
import { scale } from "./scale.ts";

type Cost = "parameters" | "multiplyAdds" | "imagesPerSecond";

const HEIGHT = 320;
const MARGIN = { left: 58, right: 20, top: 14, bottom: 42 };

/** Test accuracy against what a variant costs. */
export function cost(context: Context): HTMLElement {
  const { study, t, f } = context;
  let along: Cost = "parameters";
  let width = 0;
  const box = h("div", { class: "plot" });
  const known = study.variants.filter(({ statistics }) => statistics?.testAccuracy);
  if (known.length === 0) return h("p", {}, t.summary.nothing);
  onWidth(box, (now) => {
    width = now;
    draw();
  });

  function draw(): void {
    if (width === 0) return;
    const points = known.flatMap(({ name, statistics }) => {
      const at = statistics![along]?.mean;
      const accuracy = statistics!.testAccuracy!;
      return at === undefined
        ? []
        : [{ name, at, mean: accuracy.mean, ends: accuracy.interval ?? [accuracy.mean, accuracy.mean] }];
    });
    const xs = points.map(({ at }) => at);
    const air = 0.12 * (Math.max(...xs) - Math.min(...xs) || Math.max(...xs) || 1);
    const spread =
      Math.max(...points.map(({ mean }) => mean)) - Math.min(...points.map(({ mean }) => mean)) || 0.02;
    const means = points.map(({ mean }) => mean);
    // intervals of two seeds may be far wider than all differences: those are cut
    const lows = points.map(({ mean, ends }) => Math.max(ends[0], mean - 2 * spread));
    const highs = points.map(({ mean, ends }) => Math.min(ends[1], mean + 2 * spread));
    const pad = 0.1 * (Math.max(...highs) - Math.min(...lows) || 0.02);
    const x = scale(
      [Math.max(0, Math.min(...xs) - air), Math.max(...xs) + air],
      [MARGIN.left, width - MARGIN.right],
      {
        ticks: Math.max(2, Math.floor(width / 110)),
      },
    );
    const y = scale(
      [Math.max(0, Math.min(...lows, ...means) - pad), Math.min(1, Math.max(...highs, ...means) + pad)],
      [HEIGHT - MARGIN.bottom, MARGIN.top],
    );
    const decimals = y.domain[1] - y.domain[0] < 0.03 ? 1 : 0;
    const show = (value: number) => (along === "imagesPerSecond" ? f.rate(value) : f.scaled(value));
    box.replaceChildren(
      s(
        "svg",
        {
          width,
          height: HEIGHT,
          role: "img",
          "aria-label": `${t.cost.label(t.cost[along])}: ${points.map((p) => `${p.name} ${show(p.at)}, ${f.percent(p.mean)}`).join("; ")}`,
        },
        ...gridLines(y, { left: MARGIN.left, right: width - MARGIN.right }, (tick) =>
          f.percent(tick, decimals),
        ),
        ...x.ticks.map((tick) =>
          s(
            "text",
            { class: "tick", x: x.at(tick), y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle" },
            show(tick),
          ),
        ),
        s(
          "text",
          { class: "axis", x: width - MARGIN.right, y: HEIGHT - 5, "text-anchor": "end" },
          t.cost[along],
        ),
        ...points.flatMap(({ name, at, mean, ends }) => {
          const [px, py] = [x.at(at), y.at(mean)];
          const clampY = (value: number) =>
            Math.min(HEIGHT - MARGIN.bottom, Math.max(MARGIN.top, y.at(value)));
          const leftward = px > width - 110;
          return [
            s("line", {
              class: "whisker",
              x1: px,
              x2: px,
              y1: clampY(ends[0]),
              y2: clampY(ends[1]),
              style: `stroke:${colorOf(study, name)}`,
            }),
            mark(study, name, px, py),
            s(
              "text",
              {
                class: "name",
                x: px + (leftward ? -10 : 10),
                y: py - 7,
                "text-anchor": leftward ? "end" : "start",
              },
              name,
            ),
            s("title", {}, `${name}: ${show(at)}, ${f.percent(mean)}`),
          ];
        }),
      ),
    );
  }

  const options: [Cost, string][] = (["parameters", "multiplyAdds", "imagesPerSecond"] as const).map(
    (key) => [key, t.cost[key]],
  );
  return h(
    "div",
    {},
    h(
      "div",
      { class: "controls" },
      switcher(t.cost.axis, options, along, (value) => {
        along = value as Cost;
        draw();
      }),
    ),
    h("figure", {}, h("figcaption", {}, t.cost.accuracy), box),
    h("p", { class: "note" }, t.cost.note(severalSeeds(study))),
  );
}
