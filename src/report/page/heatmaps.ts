import type { Context } from "./context.ts";
import { type HeatmapRun, type HeatmapsPage, SCORES, type Score } from "./data.ts";
import { checkbox, choice, h, slider } from "./dom.ts";
import { meanScore, methodsOf } from "./looks.ts";
import { draw, Pictures, rampColor } from "./overlay.ts";

const FIRST_IMAGES = 10;

/** The matrix image × variant with the chosen method over it, the numbers of that method, and the images where variants disagree. */
export function heatmaps(context: Context): {
  readonly matrix: HTMLElement;
  readonly disagreements: HTMLElement;
} {
  const { study, t } = context;
  const { heatmaps: data } = study;
  if (!data || data.runs.length === 0) {
    return {
      matrix: h("p", {}, t.heatmaps.missing),
      disagreements: h("div", {}, wholeSet(context), h("p", {}, t.disagree.missing)),
    };
  }
  const methods = methodsOf(data);
  const seeds = [...new Set(data.runs.map(({ seed }) => seed))];
  const variants = study.variants
    .map(({ name }) => name)
    .filter((name) => data.runs.some((run) => run.variant === name));
  const state = {
    method: methods[0],
    seed: seeds[0],
    strength: 0.55,
    outline: data.images.some(({ mask }) => mask),
    images: FIRST_IMAGES,
  };
  const pictures = new Pictures();
  const grid = h("div", {
    class: "scroll",
    tabindex: "0",
    role: "region",
    "aria-label": t.sections.heatmaps,
  });
  const note = h("p", { class: "note" });
  const numbers = h("div");
  const different = h("div");

  const runOf = (variant: string) =>
    data.runs.find((run) => run.variant === variant && run.seed === state.seed);

  /** Redrawn when only the overlay changes. */
  let canvases: (() => void)[] = [];
  const redraw = () => {
    for (const paint of canvases) paint();
  };

  function cell(variant: string, at: number): HTMLElement {
    const run = runOf(variant);
    const place = run?.images.findIndex((image) => image.at === at) ?? -1;
    if (!run || place < 0) return h("td", {}, "–");
    const { predicted, probability } = run.images[place];
    const image = data!.images[at];
    const { classes } = study.data;
    const method = run.methods.find(({ name }) => name === state.method);
    const canvas = h("canvas", {
      role: "img",
      "aria-label": t.heatmaps.alt(state.method, variant, classes[image.label]),
    });
    const paint = () =>
      void draw(canvas, pictures, {
        image,
        size: data!.size,
        map: method && { method, at: place },
        strength: state.strength,
        outline: state.outline,
      });
    canvases.push(paint);
    paint();
    const right = predicted === image.label;
    return h(
      "td",
      {},
      canvas,
      h(
        "span",
        { class: right ? "right" : "wrong" },
        t.heatmaps.caption(classes[predicted], right),
        h("small", {}, context.f.percent(probability, 0)),
      ),
    );
  }

  function table(places: readonly number[]): HTMLElement {
    const { classes } = study.data;
    return h(
      "table",
      { class: "heatmaps" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, t.heatmaps.image),
          ...variants.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        ...places.map((at) => {
          const image = data!.images[at];
          const canvas = h("canvas", {
            role: "img",
            "aria-label": t.disagree.truth(classes[image.label], image.index),
          });
          const paint = () =>
            void draw(canvas, pictures, { image, size: data!.size, strength: 0, outline: state.outline });
          canvases.push(paint);
          paint();
          return h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              canvas,
              h("span", {}, t.disagree.truth(classes[image.label], image.index)),
            ),
            ...variants.map((name) => cell(name, at)),
          );
        }),
      ),
    );
  }

  function build(): void {
    canvases = [];
    const all = data!.images.map((_, at) => at);
    const rest = all.length - state.images;
    const more = h("button", { type: "button", click: () => showAll() }, t.heatmaps.more(rest));
    grid.replaceChildren(table(all.slice(0, state.images)), ...(rest > 0 ? [more] : []));
    const layers = [...new Set(variants.flatMap((name) => runOf(name)?.layer ?? []))];
    const without = study.variants.map(({ name }) => name).filter((name) => !runOf(name));
    const tooLarge = variants.some((name) => runOf(name)?.methods.some(({ leftOut }) => leftOut));
    note.replaceChildren(
      [
        t.heatmaps.layer(layers.join(", ")),
        without.length > 0 && t.heatmaps.unfinished(without.join(", ")),
        tooLarge && t.heatmaps.tooLarge,
      ]
        .filter(Boolean)
        .join(" "),
    );
    numbers.replaceChildren(scoreTable(context, data!, variants, state.method));
    const apart = all.filter((at) =>
      differ(
        variants.flatMap((name) => runOf(name) ?? []),
        at,
      ),
    );
    different.replaceChildren(
      wholeSet(context),
      h("p", {}, apart.length > 0 ? t.disagree.intro(apart.length, all.length) : t.disagree.none),
      ...(apart.length > 0
        ? [
            h(
              "div",
              { class: "scroll", tabindex: "0", role: "region", "aria-label": t.sections.disagree },
              table(apart),
            ),
          ]
        : []),
    );
  }

  function showAll(): void {
    state.images = data!.images.length;
    build();
  }

  build();
  const controls = h(
    "div",
    { class: "controls" },
    choice(
      t.heatmaps.method,
      methods.map((name) => [name, name] as const),
      state.method,
      (method) => {
        state.method = method;
        build();
      },
    ),
    seeds.length > 1 &&
      choice(
        t.heatmaps.seed,
        seeds.map((seed) => [String(seed), String(seed)] as const),
        String(state.seed),
        (seed) => {
          state.seed = Number(seed);
          build();
        },
      ),
    slider(t.heatmaps.strength, { min: 0, max: 1, step: 0.05, value: state.strength }, (strength) => {
      state.strength = strength;
      redraw();
    }),
    data.images.some(({ mask }) => mask) &&
      checkbox(t.heatmaps.outline, state.outline, (on) => {
        state.outline = on;
        redraw();
      }),
    legend(t.heatmaps.scale),
  );
  return {
    matrix: h(
      "div",
      {},
      controls,
      h(
        "div",
        { class: "beside" },
        h("div", {}, grid, note),
        h("div", {}, h("h3", {}, t.heatmaps.scores), numbers),
      ),
    ),
    disagreements: different,
  };
}

/** On how many of all test images the variants disagree. */
function wholeSet({ study: { disagreements }, t, f }: Context): HTMLElement | string {
  if (!disagreements) return "";
  const { seed, count, of } = disagreements;
  return h("p", {}, t.disagree.counts(f.count(count), f.count(of), seed));
}

const differ = (runs: readonly HeatmapRun[], at: number) =>
  new Set(runs.flatMap(({ images }) => images.find((image) => image.at === at)?.predicted ?? [])).size > 1;

function legend([little, much]: readonly string[]): HTMLElement {
  const colors = [0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => `rgb(${rampColor(value).join(" ")})`);
  return h(
    "span",
    { class: "ramp" },
    little,
    h("i", { style: `background:linear-gradient(90deg,${colors.join(",")})` }),
    much,
  );
}

function scoreTable(
  { t, f }: Context,
  data: HeatmapsPage,
  variants: readonly string[],
  method: string,
): HTMLElement {
  const scores = (Object.keys(SCORES) as Score[]).flatMap((score) => {
    const means = variants.map((name) => meanScore(data, name, method, score));
    return means.some((mean) => mean !== undefined) ? [{ score, means }] : [];
  });
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t.heatmaps.scores },
    h(
      "table",
      { class: "scores" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, method),
          ...variants.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        ...scores.map(({ score, means }) => {
          const known = means.filter((mean) => mean !== undefined);
          const better = SCORES[score];
          const best =
            better && known.length > 1
              ? better === "highest"
                ? Math.max(...known)
                : Math.min(...known)
              : undefined;
          return h(
            "tr",
            {},
            h("th", { scope: "row", title: t.heatmaps.explain[score] }, t.heatmaps.names[score]),
            ...means.map((mean) =>
              h(
                "td",
                { class: mean !== undefined && mean === best ? "best" : undefined },
                mean === undefined ? "–" : f.fixed(mean, 3),
              ),
            ),
          );
        }),
      ),
    ),
    h(
      "dl",
      { class: "legend-list" },
      ...scores.flatMap(({ score }) => [
        h("dt", {}, t.heatmaps.names[score]),
        h("dd", {}, t.heatmaps.explain[score]),
      ]),
    ),
  );
}
