import { z } from "zod";
import { UserError } from "../tensor/errors.ts";
import { epochRecordSchema, epochTimingSchema, noSums, sumsSchema } from "./metrics.ts";
import { defaultMonitor, type Monitor, monitored, watch } from "./monitor.ts";
import { plateauAfter, plateauStart } from "./schedules.ts";
import type { EpochRecord, EpochTiming, TrainOptions } from "./types.ts";

const count = z.int().min(0);
const watchSchema = z.strictObject({ best: z.number().nullable(), waited: count });

/**
 * Everything a training is beside its variables: what a checkpoint's metadata hold. The random streams are in it,
 * too: they are counted by epoch and step.
 */
export const trainStateSchema = z.strictObject({
  /** Steps done. */
  step: count,
  /** Epochs finished. */
  epoch: count,
  /** Steps done of the epoch under way; all of them while it is validated. */
  stepInEpoch: count,
  /** Of the epoch under way. */
  sums: sumsSchema,
  /** A record for every finished epoch. */
  records: z.array(epochRecordSchema),
  plateau: z.strictObject({ lr: z.number(), watch: watchSchema, cooldown: count }).nullable(),
  stopping: watchSchema,
  /** Ended before its epochs were over. */
  stopped: z.boolean(),
  /** The epoch with the best monitored figure, and the step it ended at. */
  best: z.strictObject({ epoch: count, step: count, value: z.number() }).nullable(),
  /** What depends on the machine, apart from all that does not: times of all sessions. */
  clock: z.strictObject({
    elapsedMs: z.number(),
    /** Spent on the steps of the epoch under way. */
    trainedMs: z.number(),
    timings: z.array(epochTimingSchema),
  }),
});

export type TrainState = z.output<typeof trainStateSchema>;

export function initialState({ schedule, optimizer }: TrainOptions): TrainState {
  return {
    step: 0,
    epoch: 0,
    stepInEpoch: 0,
    sums: noSums,
    records: [],
    plateau: schedule.name === "plateau" ? plateauStart(optimizer.lr) : null,
    stopping: { best: null, waited: 0 },
    stopped: false,
    best: null,
    clock: { elapsedMs: 0, trainedMs: 0, timings: [] },
  };
}

/** Which figure each part of a training watches. */
export interface Monitors {
  readonly plateau: Monitor;
  readonly stopping: Monitor;
  /** Decides which epoch's checkpoint is the best: what early stopping watches, else the validation accuracy. */
  readonly best: Monitor;
}

/** @throws UserError when a validation figure shall be watched and nothing is held back to validate. */
export function monitorsOf({ schedule, earlyStopping }: TrainOptions, validates: boolean): Monitors {
  const choose = (key: string, asked: Monitor | undefined): Monitor => {
    if (asked?.startsWith("validation") && !validates) {
      throw new UserError(
        `train.${key}.monitor: ${asked} is not measured, data.validation holds nothing back: hold some images back, or watch trainLoss`,
      );
    }
    return asked ?? defaultMonitor("Loss", validates);
  };
  const stopping = choose("earlyStopping", earlyStopping?.monitor);
  return {
    plateau: choose("schedule", schedule.name === "plateau" ? schedule.monitor : undefined),
    stopping,
    best: earlyStopping ? stopping : validates ? "validationAccuracy" : "trainLoss",
  };
}

/** The state when an epoch is over: a pure function, so that a resumed training goes on as the same one. */
export function afterEpoch(
  state: TrainState,
  record: EpochRecord,
  timing: EpochTiming,
  { schedule, earlyStopping }: TrainOptions,
  monitors: Monitors,
): TrainState {
  const { plateau, best } = state;
  const bestValue = monitored(monitors.best, record);
  const isBest = watch(monitors.best, { best: best?.value ?? null, waited: 0 }, bestValue).waited === 0;
  const stopping = watch(
    monitors.stopping,
    state.stopping,
    monitored(monitors.stopping, record),
    earlyStopping?.minDelta,
  );
  return {
    ...state,
    epoch: state.epoch + 1,
    stepInEpoch: 0,
    sums: noSums,
    records: [...state.records, record],
    plateau:
      plateau && schedule.name === "plateau"
        ? plateauAfter(schedule, monitors.plateau, plateau, monitored(monitors.plateau, record))
        : plateau,
    stopping,
    stopped: earlyStopping !== undefined && stopping.waited >= earlyStopping.patience,
    best: isBest ? { epoch: record.epoch, step: record.step, value: bestValue } : best,
    clock: { ...state.clock, trainedMs: 0, timings: [...state.clock.timings, timing] },
  };
}
