import { classes } from "./classes.ts";
import { type Context, declareColors } from "./context.ts";
import { cost } from "./cost.ts";
import { curves } from "./curves.ts";
import type { PageData, StudyPage } from "./data.ts";
import { h, switcher } from "./dom.ts";
import { Format } from "./format.ts";
import { gates } from "./gates.ts";
import { heatmaps } from "./heatmaps.ts";
import { pairs } from "./pairs.ts";
import { recipe } from "./recipe.ts";
import { summary } from "./summary.ts";
import { comparisonTable } from "./table.ts";
import { TEXTS, type Texts } from "./texts/index.ts";

type Section = keyof Texts["sections"];

function studyView({ study, t, f }: Context, several: boolean): HTMLElement {
  const context = { study, t, f };
  const maps = heatmaps(context);
  const parts: readonly [Section, HTMLElement][] = [
    ["summary", summary(context)],
    ["table", comparisonTable(context)],
    ["pairs", pairs(context)],
    ["curves", curves(context)],
    ["cost", cost(context)],
    ["classes", classes(context)],
    ["heatmaps", maps.matrix],
    ["gates", gates(context)],
    ["disagree", maps.disagreements],
    ["recipe", recipe(context)],
  ];
  const id = (section: Section) => `${section}-${study.name.replace(/[^\w-]/g, "_")}`;
  const done = study.runs.filter(({ status }) => status === "done").length;
  const all = study.seeds.length * study.variants.length;
  const { data } = study;
  const view = h(
    "article",
    { "aria-label": study.name },
    h(
      "header",
      {},
      several ? h("h2", { class: "study" }, study.name) : h("h1", {}, study.name),
      h(
        "p",
        { class: "lead" },
        t.lead(
          data.name,
          data.classes.length,
          `${data.image[0]}×${data.image[1]}`,
          study.variants.length,
          study.seeds.length,
        ),
        " ",
        t.judged(data.validation),
      ),
      done < all && h("p", { class: "warning", role: "status" }, t.unfinished(done, all)),
    ),
    h(
      "nav",
      { "aria-label": study.name },
      ...parts.map(([section]) => h("a", { href: `#${id(section)}` }, t.sections[section])),
    ),
    ...parts.map(([section, content]) =>
      h(
        "section",
        { id: id(section), "aria-label": t.sections[section] },
        h("h2", {}, t.sections[section]),
        content,
      ),
    ),
  );
  declareColors(view, study.variants);
  return view;
}

/** Follows the system until a theme is chosen; the choice holds while the page is open, and longer where it may be kept. */
function themeSwitch(t: Texts): HTMLElement {
  const key = "atento-theme";
  const kept = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // pages of some browsers opened from a file may keep nothing
    }
  };
  const apply = (theme: string) => {
    document.documentElement.style.colorScheme = theme === "system" ? "light dark" : theme;
    document.documentElement.dataset["theme"] = theme;
  };
  const themes = ["system", "light", "dark"] as const;
  const start = themes.find((theme) => theme === kept()) ?? "system";
  apply(start);
  return switcher(
    t.theme.label,
    themes.map((theme) => [theme, t.theme[theme]] as const),
    start,
    (theme) => {
      apply(theme);
      try {
        localStorage.setItem(key, theme);
      } catch {}
    },
  );
}

function main(): void {
  const data = JSON.parse(document.getElementById("data")!.textContent!) as PageData;
  const t = TEXTS[data.language];
  const f = new Format(data.language);
  const several = data.studies.length > 1;
  const views = data.studies.map((study: StudyPage) => studyView({ study, t, f }, several));
  document.body.replaceChildren(
    h("a", { class: "skip", href: "#main" }, t.skip),
    h("div", { class: "top" }, h("strong", {}, "atento"), themeSwitch(t)),
    h(
      "main",
      { id: "main", tabindex: "-1" },
      several && h("h1", {}, data.studies.map(({ name }) => name).join(" · ")),
      ...views,
    ),
    h("footer", {}, t.written(new Date(data.written).toISOString().slice(0, 10), data.atento)),
  );
}

main();
