import { z } from "zod";
import type { EpochRecord } from "./types.ts";

/** Figures of an epoch that can be watched. */
export const monitorSchema = z.enum(["validationLoss", "validationAccuracy", "trainLoss", "trainAccuracy"]);

export type Monitor = z.output<typeof monitorSchema>;

/** What watching a figure remembers: the best so far, and for how many epochs nothing was better. */
export interface Watch {
  readonly best: number | null;
  readonly waited: number;
}

export const watchStart: Watch = { best: null, waited: 0 };

/** The watch after another epoch; better means lower for a loss and higher for an accuracy, by more than `margin`. */
export function watch(monitor: Monitor, { best, waited }: Watch, value: number, margin = 0): Watch {
  const gain = best === null ? 0 : monitor.endsWith("Loss") ? best - value : value - best;
  return best === null || gain > margin ? { best: value, waited: 0 } : { best, waited: waited + 1 };
}

/** What is watched when nobody says: the figure on held-back images, else that of training. */
export function defaultMonitor(figure: "Loss" | "Accuracy", validates: boolean): Monitor {
  return validates ? `validation${figure}` : `train${figure}`;
}

/** The monitored figure of an epoch; monitors are checked against what is measured before a run starts. */
export const monitored = (monitor: Monitor, record: EpochRecord): number => record[monitor] as number;
