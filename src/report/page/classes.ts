import type { Context } from "./context.ts";
import type { RunPage } from "./data.ts";
import { choice, h } from "./dom.ts";

/** Accuracy of each class and variant, and a variant's confusion matrix; seeds together. */
export function classes(context: Context): HTMLElement {
  const { study, t } = context;
  const tested = study.runs.filter(
    (run): run is RunPage & Required<Pick<RunPage, "test">> => run.test !== undefined,
  );
  const variants = study.variants
    .map(({ name }) => name)
    .filter((name) => tested.some((run) => run.variant === name));
  if (variants.length === 0) return h("p", {}, t.classes.none);
  const confusions = new Map(
    variants.map((name) => [
      name,
      sum(tested.filter((run) => run.variant === name).map(({ test }) => test.confusion)),
    ]),
  );
  const box = h("div");
  const show = (variant: string) =>
    box.replaceChildren(confusion(context, variant, confusions.get(variant)!));
  show(variants[0]);
  return h(
    "div",
    { class: "classes" },
    h("div", {}, h("h3", {}, t.classes.perClass), perClass(context, variants, confusions)),
    h(
      "div",
      {},
      h("h3", {}, t.classes.confusion),
      h(
        "div",
        { class: "controls" },
        choice(
          t.classes.variant,
          variants.map((name) => [name, name] as const),
          variants[0],
          show,
        ),
      ),
      box,
      h("p", { class: "note" }, t.classes.note(new Set(tested.map(({ seed }) => seed)).size)),
    ),
  );
}

type Counts = readonly (readonly number[])[];

const sum = (all: readonly Counts[]): Counts =>
  all[0].map((row, i) => row.map((_, j) => all.reduce((total, counts) => total + counts[i][j], 0)));

const total = (row: readonly number[]) => row.reduce((a, b) => a + b, 0);

function perClass(
  { study, t, f }: Context,
  variants: readonly string[],
  confusions: ReadonlyMap<string, Counts>,
): HTMLElement {
  const rows = study.data.classes.map((name, k) => {
    const shares = variants.map((variant) => {
      const row = confusions.get(variant)![k];
      return total(row) > 0 ? row[k] / total(row) : undefined;
    });
    const known = shares.filter((share) => share !== undefined);
    return { name, shares, range: Math.max(...known) - Math.min(...known), known };
  });
  const lowest = Math.min(...rows.flatMap(({ known }) => known));
  const shade = (share: number) => Math.round(55 * ((share - lowest) / (1 - lowest || 1)));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t.classes.perClass },
    h(
      "table",
      { class: "matrix" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, t.classes.class),
          ...variants.map((name) => h("th", { scope: "col" }, name)),
          variants.length > 1 && h("th", { scope: "col" }, t.classes.range),
        ),
      ),
      h(
        "tbody",
        {},
        ...rows.map(({ name, shares, range, known }) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, name),
            ...shares.map((share) =>
              share === undefined
                ? h("td", {}, "–")
                : h(
                    "td",
                    {
                      style: `--shade:${shade(share)}%`,
                      class:
                        known.length > 1 && range > 0 && share === Math.max(...known)
                          ? "shaded best"
                          : "shaded",
                    },
                    f.bare(share, 1),
                  ),
            ),
            variants.length > 1 && h("td", { class: "quiet" }, known.length > 0 ? f.bare(range, 1) : "–"),
          ),
        ),
      ),
    ),
  );
}

function confusion({ study, t, f }: Context, variant: string, counts: Counts): HTMLElement {
  const names = study.data.classes;
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `${t.classes.confusion}: ${variant}` },
    h(
      "table",
      { class: "matrix confusion" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, `${t.classes.truth} ↓ ${t.classes.predicted} →`),
          ...names.map((name) => h("th", { scope: "col" }, h("span", {}, name))),
        ),
      ),
      h(
        "tbody",
        {},
        ...counts.map((row, i) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, names[i] ?? String(i)),
            ...row.map((n, j) => {
              const share = n / (total(row) || 1);
              const right = i === j;
              const said = `${names[i]} → ${names[j]}: ${f.count(n)} (${f.percent(share, 1)})`;
              return h(
                "td",
                {
                  class: `shaded${right ? " right" : " wrong"}${n === 0 ? " zero" : ""}`,
                  style: `--shade:${Math.round(right ? 55 * share : Math.min(80, 300 * share))}%`,
                  title: said,
                },
                n === 0 ? "·" : f.count(n),
              );
            }),
          ),
        ),
      ),
    ),
  );
}
