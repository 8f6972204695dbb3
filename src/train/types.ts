import type { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import type { ResNet } from "../models/resnet.ts";
import type { Pretrained } from "./adopt.ts";
import type { trainSchema } from "./options.ts";

/** Everything about training itself: epochs, batch, optimiser, schedule, augmentation, smoothing, stopping. */
export type TrainOptions = z.output<typeof trainSchema>;

/** Everything that decides what a run computes; kept in run.json. */
export interface RunSettings {
  readonly variant: string;
  readonly seed: number;
  readonly model: ResNet;
  readonly data: RunData;
  readonly train: TrainOptions;
  /** Weights it starts from, where they are not drawn from the seed. */
  readonly pretrained?: Fingerprinted;
}

/** A file: its path as it was asked for, and the SHA-256 of its bytes. */
export interface Fingerprinted {
  readonly file: string;
  readonly sha256: string;
}

export interface RunData {
  /** What the user asked for, such as { source: "cifar10" }, for people and for loading it again. */
  readonly source: Readonly<Record<string, unknown>>;
  readonly name: string;
  readonly fingerprint: string;
  readonly classes: readonly string[];
  readonly image: readonly [number, number];
  /** Training images held back to judge; `test` takes the test set for it, as the original study did. */
  readonly validation: number | "test";
  readonly normalize: "channel" | "scalar";
}

/** A line of metrics.jsonl: the same bytes wherever and however often interrupted the run is trained. Accuracies are fractions, losses mean cross-entropies. */
export interface EpochRecord {
  /** Counted from 1. */
  readonly epoch: number;
  /** Steps done at the end of the epoch. */
  readonly step: number;
  /** Rate of the epoch's last step as the schedule has it; the `decay` of Keras' Adam is not in it. */
  readonly lr: number;
  /** Mean over the epoch's batches, in training mode, as Keras reports it. */
  readonly trainLoss: number;
  readonly trainAccuracy: number;
  /** Absent when nothing is held back to validate. */
  readonly validationLoss?: number;
  readonly validationAccuracy?: number;
}

/** A line of timings.jsonl: what the clock said of an epoch. */
export interface EpochTiming {
  /** Counted from 1. */
  readonly epoch: number;
  /** Time trained since the run began, over all its sessions. */
  readonly elapsedMs: number;
  readonly imagesPerSecond: number;
}

export interface Evaluation {
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly perClass: readonly { readonly name: string; readonly count: number; readonly accuracy: number }[];
  /** [true class][predicted class] counts. */
  readonly confusion: readonly (readonly number[])[];
  /** Predicted class of each image, in order. */
  readonly predictions: readonly number[];
  /** True class of each image, in the same order; absent in files of version 0.1.0 and before. */
  readonly labels?: readonly number[];
}

/** Final figures of a run, as results.json holds them. */
export interface RunFigures {
  readonly trainAccuracy: number;
  readonly trainLoss: number;
  readonly validationAccuracy?: number;
  readonly validationLoss?: number;
  readonly testAccuracy: number;
  readonly testLoss: number;
  readonly parameters: number;
  readonly statistics: number;
  /** For one image, forward. */
  readonly multiplyAdds: number;
  readonly imagesPerSecond: number;
  readonly elapsedMs: number;
  readonly epochs: number;
}

/** run.json: who a run is and how far it is. */
export interface RunFile {
  readonly atento: string;
  readonly settings: RunSettings;
  readonly environment: Readonly<Record<string, string | number>>;
  readonly status: "running" | "interrupted" | "done" | "failed";
  readonly startedAt: string;
  readonly figures?: RunFigures;
}

export type RunProgress =
  | {
      readonly kind: "start";
      readonly epochs: number;
      readonly stepsPerEpoch: number;
      readonly resumedStep: number;
      /** Memory that the run needs, as known before the first step. */
      readonly bytes: number;
    }
  | {
      readonly kind: "step";
      readonly epoch: number;
      /** Within the epoch, counted from 1. */
      readonly step: number;
      readonly stepsPerEpoch: number;
      readonly loss: number;
      readonly accuracy: number;
      readonly imagesPerSecond: number;
      /** Until the whole run is done. */
      readonly remainingMs: number;
    }
  | { readonly kind: "epoch"; readonly record: EpochRecord; readonly timing: EpochTiming }
  /** Something worth knowing that is no error, one line. */
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "evaluate"; readonly done: number; readonly total: number };

export interface TrainRequest {
  /** The run's folder: made when missing, resumed when it holds a checkpoint, returned at once when it is done. */
  readonly folder: string;
  readonly settings: RunSettings;
  readonly dataset: Dataset;
  readonly engine: Engine;
  /** Gives the weights of `settings.pretrained`; asked only when nothing is trained yet. */
  readonly pretrained?: () => Promise<Pretrained>;
  /** Aborting saves the run and returns with status `interrupted`, without waiting for a step that takes long. */
  readonly signal?: AbortSignal;
  /** Time between checkpoints within an epoch, 2 minutes by default. */
  readonly checkpointMs?: number;
  readonly onProgress?: (progress: RunProgress) => void;
}

export interface TrainResult {
  readonly status: "done" | "interrupted";
  readonly epochs: readonly EpochRecord[];
  /** Only when done. */
  readonly figures?: RunFigures;
  readonly test?: Evaluation;
}
