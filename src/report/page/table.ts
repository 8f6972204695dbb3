import type { Figure } from "../../study/results.ts";
import type { Context } from "./context.ts";
import { severalSeeds } from "./context.ts";
import type { VariantPage } from "./data.ts";
import { h } from "./dom.ts";
import { swatch } from "./marks.ts";

/** No accuracy is above 1, whatever the t distribution says. */
const within = (figure: Figure, value: number) => (figure.endsWith("Accuracy") ? Math.min(1, value) : value);

interface Column {
  readonly figure: Figure;
  readonly show: (value: number) => string;
  readonly best?: "highest" | "lowest";
  /** Differs between seeds. */
  readonly varies: boolean;
}

/** The comparison, sorted by the column chosen. */
export function comparisonTable({ study, t, f }: Context): HTMLElement {
  const accuracy = { show: (x: number) => f.bare(x), best: "highest", varies: true } as const;
  const loss = { show: (x: number) => f.fixed(x, 3), best: "lowest", varies: true } as const;
  const known: readonly Column[] = [
    { figure: "testAccuracy", ...accuracy },
    { figure: "validationAccuracy", ...accuracy },
    { figure: "trainAccuracy", ...accuracy },
    { figure: "testLoss", ...loss },
    { figure: "validationLoss", ...loss },
    { figure: "trainLoss", ...loss },
    { figure: "parameters", show: (x) => f.count(x), varies: false },
    { figure: "multiplyAdds", show: (x) => f.scaled(x), varies: false },
    { figure: "imagesPerSecond", show: (x) => f.rate(x), best: "highest", varies: true },
  ];
  const columns = known.filter(({ figure }) => study.variants.some(({ statistics }) => statistics?.[figure]));
  const body = h("tbody");
  const buttons = new Map<Figure | "variant", HTMLTableCellElement>();
  let sorted: { key: Figure | "variant"; descending: boolean } | undefined;

  const value = (variant: VariantPage, figure: Figure) => variant.statistics?.[figure]?.mean;
  const winners = new Map(
    columns.map(({ figure, best, show }) => {
      const values = study.variants
        .flatMap((variant) => value(variant, figure) ?? [])
        .filter(Number.isFinite);
      const extreme = best === "highest" ? Math.max(...values) : Math.min(...values);
      return [figure, best && values.length > 1 ? show(extreme) : undefined];
    }),
  );

  function order(): VariantPage[] {
    if (!sorted) return [...study.variants];
    const { key, descending } = sorted;
    const sign = descending ? -1 : 1;
    return [...study.variants].sort((a, b) => {
      if (key === "variant") return sign * a.name.localeCompare(b.name);
      const [x, y] = [value(a, key), value(b, key)];
      if (x === undefined || y === undefined) return x === y ? 0 : x === undefined ? 1 : -1;
      return sign * (x - y);
    });
  }

  function draw(): void {
    body.replaceChildren(...order().map(row));
    for (const [key, cell] of buttons) {
      const on = sorted?.key === key;
      cell.setAttribute("aria-sort", on ? (sorted!.descending ? "descending" : "ascending") : "none");
    }
  }

  function row(variant: VariantPage): HTMLElement {
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, swatch(study, variant.name), variant.name),
      ...columns.map(({ figure, show, varies }) => {
        const spread = variant.statistics?.[figure];
        if (!spread) return h("td", {}, "–");
        const won = winners.get(figure) === show(spread.mean);
        const { deviation, interval } = spread;
        const seeds = varies && deviation !== undefined && interval !== undefined;
        return h(
          "td",
          { class: won ? "best" : undefined },
          h("span", { class: "figure" }, show(spread.mean), won && " ★"),
          seeds && h("small", {}, `± ${show(deviation)}`),
          seeds &&
            figure !== "imagesPerSecond" &&
            h("small", {}, `${show(interval[0])} – ${show(within(figure, interval[1]))}`),
        );
      }),
      h("td", {}, String(variant.statistics?.runs ?? 0)),
    );
  }

  function title(key: Figure | "variant", text: string, first: "highest" | "lowest"): HTMLElement {
    const sort = () => {
      const descending = sorted?.key === key ? !sorted.descending : first === "highest";
      sorted = { key, descending };
      draw();
    };
    const cell = h(
      "th",
      { scope: "col", "aria-sort": "none" },
      h("button", { type: "button", click: sort }, text),
    );
    buttons.set(key, cell);
    return cell;
  }

  const head = h(
    "tr",
    {},
    title("variant", t.table.variant, "lowest"),
    ...columns.map(({ figure, best }) =>
      title(
        figure,
        t.table[figure as keyof typeof t.table] as string,
        best === "lowest" ? "lowest" : "highest",
      ),
    ),
    h("th", { scope: "col" }, t.table.runs),
  );
  draw();
  return h(
    "div",
    {},
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": t.sections.table },
      h("table", { class: "comparison" }, h("thead", {}, head), body),
    ),
    h("p", { class: "note" }, t.table.sortHint, " ", t.table.note(severalSeeds(study))),
    unfinished({ study, t, f }),
  );
}

function unfinished({ study, t }: Context): HTMLElement | string {
  const open = study.runs.filter(({ status }) => status !== "done");
  const absent = study.variants.flatMap(({ name }) =>
    study.seeds
      .filter((seed) => !study.runs.some((run) => run.variant === name && run.seed === seed))
      .map((seed) => t.table.missing(name, seed, t.table.states.absent)),
  );
  const said = open.map(({ variant, seed, status, records, epochs }) =>
    t.table.missing(variant, seed, `${t.table.states[status]} (${t.table.epochs(records.length, epochs)})`),
  );
  const lines = [...said, ...absent];
  return lines.length > 0 ? h("ul", { class: "note" }, ...lines.map((line) => h("li", {}, line))) : "";
}
