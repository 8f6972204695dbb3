import type { Comparison } from "../../study/comparisons.ts";
import type { VariantStatistics } from "../../study/results.ts";
import type { EpochRecord, Evaluation, RunData, RunFile } from "../../train/types.ts";
import type { Language } from "./texts/index.ts";

/** Everything the page shows; it stands in the page as JSON. */
export interface PageData {
  readonly language: Language;
  readonly atento: string;
  /** ISO date. */
  readonly written: string;
  readonly studies: readonly StudyPage[];
}

export interface StudyPage {
  readonly name: string;
  readonly data: RunData;
  readonly seeds: readonly number[];
  readonly variants: readonly VariantPage[];
  readonly runs: readonly RunPage[];
  readonly comparisons: readonly Comparison[];
  /** Test images on which not all variants predict the same class, of the first seed that all finished. */
  readonly disagreements?: { readonly seed: number; readonly count: number; readonly of: number };
  /** How to do it again. */
  readonly command: string;
  /** The study with all its settings, as study.json has it. */
  readonly settings: string;
  readonly environments: readonly EnvironmentPage[];
  readonly heatmaps?: HeatmapsPage;
}

export interface VariantPage {
  readonly name: string;
  readonly stroke: { readonly light: string; readonly dark: string; readonly dash: readonly number[] };
  /** Of its finished runs; absent when there are none. */
  readonly statistics?: VariantStatistics;
  /** How it differs: settings that not all variants share, such as `attention` `se`. */
  readonly recipe: readonly (readonly [setting: string, value: string])[];
}

export interface RunPage {
  readonly variant: string;
  readonly seed: number;
  readonly status: RunFile["status"];
  /** Asked for. */
  readonly epochs: number;
  readonly records: readonly EpochRecord[];
  readonly test?: Pick<Evaluation, "confusion" | "perClass">;
}

export interface EnvironmentPage {
  /** Such as `plain, seed 1`; empty when all runs share it. */
  readonly runs: readonly string[];
  readonly facts: readonly (readonly [name: string, value: string])[];
}

/** Figures of a heatmap, each with the end that is better. */
export const SCORES = {
  insertion: "highest",
  deletion: "lowest",
  road: "highest",
  drop: "lowest",
  increase: "highest",
  pointing: "highest",
  energy: "highest",
  iou: "highest",
  sanity: undefined,
} as const satisfies Record<string, "highest" | "lowest" | undefined>;

export type Score = keyof typeof SCORES;

export interface HeatmapsPage {
  readonly images: readonly HeatmapImage[];
  /** [height, width] as the images are shown. */
  readonly size: readonly [number, number];
  readonly runs: readonly HeatmapRun[];
  readonly gates: readonly GateLayer[];
}

export interface HeatmapImage {
  /** In the test set. */
  readonly index: number;
  readonly label: number;
  /** Data URI. */
  readonly url: string;
  /** Bits of the object's mask, a byte a pixel in base64, of `size`; where masks are known. */
  readonly mask?: string;
}

export interface HeatmapRun {
  readonly variant: string;
  readonly seed: number;
  readonly layer: string;
  /** Places in `images`. */
  readonly images: readonly {
    readonly at: number;
    readonly predicted: number;
    readonly probability: number;
  }[];
  readonly methods: readonly HeatmapMethod[];
}

export interface HeatmapMethod {
  readonly name: string;
  /** [N,h,w] in 255ths, in base64; absent where there are none, or where they are left out. */
  readonly maps?: string;
  /** They would have made the page too large. */
  readonly leftOut?: boolean;
  readonly height: number;
  readonly width: number;
  /** An image each. */
  readonly scores: Partial<Readonly<Record<Score, readonly number[]>>>;
}

export interface GateLayer {
  readonly variant: string;
  readonly seed: number;
  readonly layer: string;
  /** [classes, channels] or [classes, h, w]. */
  readonly shape: readonly number[];
  /** In 255ths, in base64. */
  readonly values: string;
}
