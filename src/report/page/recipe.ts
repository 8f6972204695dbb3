import type { Context } from "./context.ts";
import { h } from "./dom.ts";

/** The command, what the variants share and how they differ, and where they were computed. */
export function recipe({ study, t }: Context): HTMLElement {
  const named = [...new Set(study.variants.flatMap(({ recipe }) => recipe.map(([name]) => name)))];
  // where one variant has nothing and another has options, the options say it all
  const settings = named.filter((name) => !named.some((other) => other.startsWith(`${name}.`)));
  const value = (variant: (typeof study.variants)[number], setting: string) =>
    variant.recipe.find(([name]) => name === setting)?.[1] ?? "–";
  const shared = settings.filter(
    (setting) => new Set(study.variants.map((variant) => value(variant, setting))).size === 1,
  );
  const own = settings.filter((setting) => !shared.includes(setting));
  const copy = h(
    "button",
    {
      type: "button",
      click: () => {
        navigator.clipboard?.writeText(study.command).then(
          () => copy.replaceChildren(t.recipe.copied),
          () => getSelection()?.selectAllChildren(command),
        );
      },
    },
    t.recipe.copy,
  );
  const command = h("code", {}, study.command);
  const table = (label: string, ...rows: HTMLElement[]) =>
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      h("table", { class: "facts" }, ...rows),
    );
  return h(
    "div",
    {},
    h("h3", {}, t.recipe.command),
    h("p", { class: "command" }, command, copy),
    h("p", { class: "note" }, t.recipe.resume),
    own.length > 0 && h("h3", {}, t.recipe.differs),
    own.length > 0 &&
      table(
        t.recipe.differs,
        h(
          "tr",
          {},
          h("th", { scope: "col" }, t.recipe.setting),
          ...study.variants.map(({ name }) => h("th", { scope: "col" }, name)),
        ),
        ...own.map((setting) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, setting),
            ...study.variants.map((variant) => h("td", {}, value(variant, setting))),
          ),
        ),
      ),
    h("h3", {}, t.recipe.shared),
    h(
      "dl",
      { class: "shared" },
      ...shared.map((setting) =>
        h("div", {}, h("dt", {}, setting), h("dd", {}, value(study.variants[0], setting))),
      ),
    ),
    h("h3", {}, t.recipe.environment),
    ...study.environments.map(({ runs, facts }) =>
      table(
        t.recipe.environment,
        h(
          "tr",
          {},
          h("th", { scope: "row" }, t.recipe.runs),
          h("td", {}, runs.length > 0 ? runs.join("; ") : t.recipe.all),
        ),
        ...facts.map(([name, fact]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, fact))),
      ),
    ),
    h("details", {}, h("summary", {}, t.recipe.settings), h("pre", { tabindex: "0" }, study.settings)),
  );
}
