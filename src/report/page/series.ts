import type { EpochRecord } from "../../train/types.ts";
import type { RunPage } from "./data.ts";
import { smooth } from "./scale.ts";

export interface Point {
  readonly epoch: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly seeds: number;
}

/** Mean, lowest and highest over a variant's runs, epoch by epoch; each run smoothed before. */
export function seriesOf(
  runs: readonly RunPage[],
  variant: string,
  field: (record: EpochRecord) => number | undefined,
  smoothing: number,
): Point[] {
  const byEpoch = new Map<number, number[]>();
  for (const { records } of runs.filter((run) => run.variant === variant)) {
    const known = records.flatMap((record) => {
      const value = field(record);
      return value !== undefined && Number.isFinite(value) ? [{ epoch: record.epoch, value }] : [];
    });
    const values = smooth(
      known.map(({ value }) => value),
      smoothing,
    );
    known.forEach(({ epoch }, k) => {
      byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), values[k]]);
    });
  }
  return [...byEpoch]
    .sort(([a], [b]) => a - b)
    .map(([epoch, values]) => ({
      epoch,
      mean: values.reduce((sum, x) => sum + x, 0) / values.length,
      low: Math.min(...values),
      high: Math.max(...values),
      seeds: values.length,
    }));
}
