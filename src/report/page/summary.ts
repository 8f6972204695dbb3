import type { Context } from "./context.ts";
import type { VariantPage } from "./data.ts";
import { h } from "./dom.ts";
import { looks } from "./looks.ts";
import { between, verdictOf } from "./verdict.ts";

/** The five questions a reader comes with, answered in sentences. */
export function summary(context: Context): HTMLElement {
  const { study, t } = context;
  const ranked = study.variants
    .filter(({ statistics }) => statistics?.testAccuracy)
    .sort((a, b) => accuracy(b) - accuracy(a));
  if (ranked.length === 0) return h("p", {}, t.summary.nothing);
  const answers: [question: string, answers: readonly string[]][] = [
    [t.summary.best, best(context, ranked)],
    [t.summary.much, much(context, ranked)],
    [t.summary.real, real(context, ranked)],
    [t.summary.cost, cost(context, ranked)],
    [t.summary.looks, looks(context, ranked)],
  ];
  return h(
    "dl",
    { class: "answers" },
    ...answers.map(([question, sentences]) =>
      h("div", {}, h("dt", {}, question), ...sentences.map((sentence) => h("dd", {}, sentence))),
    ),
  );
}

const accuracy = ({ statistics }: VariantPage) => statistics!.testAccuracy!.mean;

function best({ t, f }: Context, ranked: readonly VariantPage[]): string[] {
  const [first] = ranked;
  const { mean, interval } = first.statistics!.testAccuracy!;
  if (ranked.length === 1) return [t.summary.alone(first.name, f.percent(mean))];
  const level = ranked.filter((variant) => accuracy(variant) === mean);
  if (level.length > 1) return [t.summary.tie(level.map(({ name }) => name).join(", "), f.percent(mean))];
  const shown = interval && `${f.bare(interval[0])} – ${f.percent(Math.min(1, interval[1]))}`;
  return [t.summary.highest(first.name, f.percent(mean), shown, first.statistics!.runs)];
}

function much({ study, t, f }: Context, ranked: readonly VariantPage[]): string[] {
  const [first, second] = ranked;
  if (!second) return [t.summary.nothingToCompare];
  const pair = between(study.comparisons, first.name, second.name);
  if (!pair) return [t.summary.notPaired];
  const interval = pair.t && `${f.points(pair.t.interval[0])} – ${f.points(pair.t.interval[1])}`;
  const last = ranked[ranked.length - 1];
  return [
    t.summary.ahead(f.points(pair.mean), second.name, interval),
    ...(ranked.length > 2 ? [t.summary.range(f.percent(accuracy(last)), last.name)] : []),
  ];
}

function real({ study, t }: Context, [first, second]: readonly VariantPage[]): string[] {
  const { comparisons } = study;
  if (!second) return [t.summary.nothingToCompare];
  const baseline = study.variants.find(({ statistics }) => statistics)!;
  const rivals = new Set([second.name, baseline.name].filter((name) => name !== first.name));
  const said = [...rivals]
    .flatMap((rival) => between(comparisons, first.name, rival) ?? [])
    .map((pair) => t.pair(pair));
  if (comparisons.every(({ seeds }) => seeds.length === 1)) return [...said, t.summary.oneSeed];
  const shown = comparisons.filter((comparison) => verdictOf(comparison).kind === "shown").length;
  return [
    ...said,
    shown === 0 ? t.summary.noneShown(comparisons.length) : t.summary.someShown(shown, comparisons.length),
  ];
}

function cost({ study, t, f }: Context, [first]: readonly VariantPage[]): string[] {
  const baseline = study.variants.find(({ statistics }) => statistics)!;
  const [ours, theirs] = [first.statistics!, baseline.statistics!];
  const sizes = t.summary.sizes(
    f.count(ours.parameters?.mean ?? 0),
    f.scaled(ours.multiplyAdds?.mean ?? 0),
    f.rate(ours.imagesPerSecond?.mean ?? 0),
  );
  const named = `${first.name}: ${sizes}`;
  if (baseline === first) return [named, t.summary.same(first.name)];
  const ratio = (figure: "parameters" | "multiplyAdds" | "imagesPerSecond") =>
    (ours[figure]?.mean ?? 0) / (theirs[figure]?.mean || 1) - 1;
  const share = (value: number) => f.percent(Math.abs(value), Math.abs(value) < 0.0995 ? 1 : 0);
  const said = (
    value: number,
    more: (share: string) => string,
    fewer: (share: string) => string,
    equal: string,
  ) => (Math.abs(value) < 0.0005 ? equal : value > 0 ? more(share(value)) : fewer(share(value)));
  const { more, fewer, equal, faster, slower, alike } = t.summary;
  return [
    t.summary.costs(
      first.name,
      baseline.name,
      said(ratio("parameters"), more, fewer, equal),
      said(ratio("multiplyAdds"), more, fewer, equal),
      said(ratio("imagesPerSecond"), faster, slower, alike),
    ),
    named,
  ];
}
