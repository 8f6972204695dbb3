import type { StudyPage, VariantPage } from "./data.ts";
import type { Format } from "./format.ts";
import type { Texts } from "./texts/index.ts";

/** What every part of the page is made from. */
export interface Context {
  readonly study: StudyPage;
  readonly t: Texts;
  readonly f: Format;
}

/** Colour of the variant at this place, as CSS: the theme decides which. */
export const colorOf = (study: StudyPage, variant: string) =>
  `var(--variant-${study.variants.findIndex(({ name }) => name === variant)})`;

/** Declares the variants' colours on the study's element, for both themes. */
export function declareColors(element: HTMLElement, variants: readonly VariantPage[]): void {
  variants.forEach(({ stroke }, k) => {
    element.style.setProperty(`--variant-${k}`, `light-dark(${stroke.light}, ${stroke.dark})`);
  });
}

export const severalSeeds = ({ runs }: StudyPage) => new Set(runs.map(({ seed }) => seed)).size > 1;
