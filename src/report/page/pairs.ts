import type { Comparison } from "../../study/comparisons.ts";
import type { Context } from "./context.ts";
import { h, onWidth, s } from "./dom.ts";
import { type Scale, scale } from "./scale.ts";
import { turned, verdictOf } from "./verdict.ts";

/** Every pair of variants: its intervals, the sentence, the figures behind it. */
export function pairs(context: Context): HTMLElement {
  const { study, t } = context;
  if (study.comparisons.length === 0) return h("p", {}, t.pairs.none);
  const all = study.comparisons.map(turned).sort((a, b) => b.mean - a.mean);
  const ends = all.flatMap(({ mean, t: test, images, differences }) => [
    ...[0, mean, ...differences],
    ...(images?.bootstrap ?? []),
    // an interval of two seeds may be wider than anything else: it is cut
    ...(test ? cut(test.interval, all) : []),
  ]);
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  const pad = 0.04 * (high - low || 0.01);
  const domain: readonly [number, number] = [100 * (low - pad), 100 * (high + pad)];
  return h(
    "div",
    {},
    h("p", {}, t.pairs.intro),
    h("ul", { class: "pairs" }, ...all.map((pair) => row(context, pair, domain))),
    h("p", { class: "note axis-note" }, t.pairs.axis),
  );
}

const WIDEST = 6;

/** An interval, cut to some times the largest difference. */
function cut([low, high]: readonly [number, number], all: readonly Comparison[]): [number, number] {
  const largest = Math.max(...all.flatMap(({ differences }) => differences.map(Math.abs)), 0.001);
  return [Math.max(low, -WIDEST * largest), Math.min(high, WIDEST * largest)];
}

function row(context: Context, pair: Comparison, domain: readonly [number, number]): HTMLElement {
  const { t } = context;
  const chart = h("div", { class: "forest" });
  onWidth(chart, (width) => chart.replaceChildren(forest(context, pair, domain, width)));
  const { kind } = verdictOf(pair);
  return h(
    "li",
    { class: kind === "shown" ? "shown" : undefined },
    h("h3", {}, `${pair.first} − ${pair.second}`),
    chart,
    h("p", {}, t.pair(pair)),
    h("details", {}, h("summary", {}, t.pairs.details), figures(context, pair)),
  );
}

const HEIGHT = 54;

function forest(
  { t, f }: Context,
  pair: Comparison,
  domain: readonly [number, number],
  width: number,
): SVGElement {
  const x = scale(domain, [6, width - 6], { ticks: Math.max(2, Math.floor(width / 80)) });
  const at = (fraction: number) => Math.min(width - 1, Math.max(1, x.at(100 * fraction)));
  const middle = 17;
  const bar = (name: string, [from, to]: readonly [number, number]) =>
    s("line", { class: name, x1: at(from), x2: at(to), y1: middle, y2: middle });
  const interval = pair.t ? `${f.points(pair.t.interval[0])} – ${f.points(pair.t.interval[1])}` : "–";
  return s(
    "svg",
    {
      width,
      height: HEIGHT,
      role: "img",
      "aria-label": `${f.points(pair.mean)} ${t.pairs.points}, ${interval}`,
    },
    ...grid(x, f.short.bind(f)),
    s("line", { class: "zero", x1: at(0), x2: at(0), y1: 2, y2: 34 }),
    pair.t && bar("over-seeds", pair.t.interval),
    pair.images && bar("over-images", pair.images.bootstrap),
    ...pair.differences.map((d) => s("circle", { class: "seed", cx: at(d), cy: middle, r: 3.2 })),
    s("path", { class: "mean", d: `M${at(pair.mean)},${middle - 7}l5,7l-5,7l-5,-7Z` }),
  );
}

function grid(x: Scale, show: (value: number) => string): SVGElement[] {
  return x.ticks.flatMap((tick) => [
    s("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: 2, y2: 34 }),
    s("text", { class: "tick", x: x.at(tick), y: 49, "text-anchor": "middle" }, show(tick)),
  ]);
}

function figures({ t, f }: Context, pair: Comparison): HTMLElement {
  const { first, second, differences, seeds, t: test, wilcoxon, images } = pair;
  const rows: [string, string][] = [
    [t.pairs.differences, seeds.map((seed, k) => `${seed}: ${f.points(differences[k])}`).join("; ")],
  ];
  if (test) {
    rows.push([
      t.pairs.t,
      `t(${test.df}) = ${f.fixed(test.t, 2)}, ${t.pairs.p(f.p(test.p), f.p(test.holm))}`,
    ]);
    rows.push([t.pairs.effect, f.fixed(test.effect, 2)]);
    const { seedsNeeded } = pair;
    rows.push([t.pairs.needed, seedsNeeded === undefined ? t.pairs.beyond : f.count(seedsNeeded)]);
  }
  if (wilcoxon) {
    const least = f.p(Math.min(1, 2 ** (1 - seeds.length)));
    rows.push([
      t.pairs.wilcoxon,
      `W = ${f.fixed(wilcoxon.w, 1)}, ${t.pairs.p(f.p(wilcoxon.p), f.p(wilcoxon.holm))}; ${t.pairs.wilcoxonLimit(seeds.length, least)}`,
    ]);
  }
  if (images) {
    const { clustered, bootstrap, mcnemar } = images;
    rows.push([
      t.pairs.clustered,
      `χ² = ${f.fixed(clustered.chiSquare, 2)}, ${t.pairs.p(f.p(clustered.p), f.p(clustered.holm))}`,
    ]);
    rows.push([t.pairs.bootstrap, `${f.points(bootstrap[0])} – ${f.points(bootstrap[1])}`]);
    for (const { seed, onlyFirst, onlySecond, p } of mcnemar) {
      const only = t.pairs.only(first, f.count(onlyFirst), second, f.count(onlySecond));
      rows.push([t.pairs.mcnemar(seed), `${only}; p ${f.p(p)}`]);
    }
  }
  const list = rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)));
  return h(
    "div",
    {},
    h("table", { class: "facts" }, ...list),
    !images && h("p", { class: "note" }, t.pairs.noImages),
  );
}
