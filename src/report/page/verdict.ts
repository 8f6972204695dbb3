import type { Comparison } from "../../study/comparisons.ts";

/** What a comparison of two variants allows to be said. */
export type Verdict =
  /** Shown over seeds: the paired t test, corrected for all pairs of the study, below 0.05. */
  | { readonly kind: "shown" }
  /** Below 0.05 by itself, but not corrected for all pairs. */
  | { readonly kind: "suggested"; readonly seedsNeeded?: number }
  /** Several seeds, and what they show may be chance. */
  | { readonly kind: "open"; readonly seedsNeeded?: number }
  /** Every seed gives the same difference: there is no spread to measure it by. */
  | { readonly kind: "constant" }
  /** One seed: nothing can be said of other trainings; `images` where the test images alone make it unlikely to be chance. */
  | { readonly kind: "one seed"; readonly images: "shown" | "open" | "unknown" };

const SMALL = 0.05;

export function verdictOf({ seeds, t, images, seedsNeeded }: Comparison): Verdict {
  if (seeds.length === 1) {
    const onImages = !images ? "unknown" : images.clustered.holm < SMALL ? "shown" : "open";
    return { kind: "one seed", images: onImages };
  }
  if (!t) return { kind: "constant" };
  if (t.holm < SMALL) return { kind: "shown" };
  return { kind: t.p < SMALL ? "suggested" : "open", seedsNeeded };
}

/** The comparison as seen from the variant that is ahead. */
export function turned(comparison: Comparison): Comparison {
  if (comparison.mean >= 0) return comparison;
  const { first, second, differences, mean, t, wilcoxon, images } = comparison;
  const flip = ([low, high]: readonly [number, number]) => [-high, -low] as const;
  return {
    ...comparison,
    first: second,
    second: first,
    differences: differences.map((d) => -d),
    mean: -mean,
    ...(t && { t: { ...t, t: -t.t, effect: -t.effect, interval: flip(t.interval) } }),
    ...(wilcoxon && { wilcoxon: { ...wilcoxon, w: (wilcoxon.n * (wilcoxon.n + 1)) / 2 - wilcoxon.w } }),
    ...(images && {
      images: {
        ...images,
        bootstrap: flip(images.bootstrap),
        mcnemar: images.mcnemar.map(({ onlyFirst, onlySecond, ...rest }) => ({
          ...rest,
          onlyFirst: onlySecond,
          onlySecond: onlyFirst,
        })),
      },
    }),
  };
}

/** The comparison of two variants from the view of the first; undefined when they share no seed. */
export function between(
  comparisons: readonly Comparison[],
  first: string,
  second: string,
): Comparison | undefined {
  const found = comparisons.find(
    (c) => (c.first === first && c.second === second) || (c.first === second && c.second === first),
  );
  return found && (found.first === first || found.mean === 0 ? found : turned(found));
}
