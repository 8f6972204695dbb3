import type { Language } from "./texts/index.ts";

const LOCALES: Readonly<Record<Language, string>> = { en: "en-US", es: "es-ES" };

/** Numbers as people of a language write them. */
export class Format {
  readonly #locale: string;

  constructor(language: Language) {
    this.#locale = LOCALES[language];
  }

  /** 1234.5 with two decimals: 1,234.50. */
  fixed(value: number, decimals: number): string {
    const text = value.toLocaleString(this.#locale, {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
      useGrouping: "always" as unknown as boolean,
    });
    return text.replace(/^-/, "−");
  }

  count(value: number): string {
    return this.fixed(Math.round(value), 0);
  }

  /** A fraction as percent: 0.8785 → 87.85 %. */
  percent(fraction: number, decimals = 2): string {
    return `${this.fixed(100 * fraction, decimals)} %`;
  }

  /** The same without its sign, for tables that have it in their title. */
  bare(fraction: number, decimals = 2): string {
    return this.fixed(100 * fraction, decimals);
  }

  /** A difference of fractions in percentage points: two decimals where one would say nothing. */
  points(fraction: number): string {
    const value = 100 * fraction;
    return this.fixed(value, Math.abs(value) < 0.95 ? 2 : 1);
  }

  /** Large counts with three figures: 6.01 G, 83.1 M. */
  scaled(value: number): string {
    const units = ["", " k", " M", " G", " T"];
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    const decimals = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return `${this.fixed(value, decimals)}${units[unit]}`;
  }

  /** Images a second. */
  rate(perSecond: number): string {
    return this.fixed(perSecond, perSecond < 99.95 ? 1 : 0);
  }

  /** A p value: < 0.001, else with two significant figures. */
  p(value: number): string {
    if (value < 0.001) return `< ${this.fixed(0.001, 3)}`;
    return this.fixed(value, value < 0.0995 ? 3 : 2);
  }

  /** At most three significant figures, as a chart's axis has them. */
  short(value: number): string {
    return value.toLocaleString(this.#locale, { maximumSignificantDigits: 3 }).replace(/^-/, "−");
  }
}
