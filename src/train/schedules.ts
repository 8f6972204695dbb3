import { z } from "zod";
import { type Monitor, monitorSchema, type Watch, watch } from "./monitor.ts";
import { byName } from "./named.ts";

const positive = z.number().positive();
const share = z.number().gt(0).lt(1);
const rate = z.number().min(0);

/** Schedules of the learning rate as a study file has them. */
export const scheduleSchema = byName(
  z.strictObject({ name: z.literal("constant") }),
  z
    .strictObject({
      name: z.literal("step"),
      /** Epochs between two reductions. */
      every: z.int().positive().optional(),
      /** Epochs done when the rate is reduced; at half and three quarters of all when neither is said. */
      milestones: z.array(z.int().positive()).min(1).optional(),
      gamma: positive.default(0.1),
    })
    .refine(({ every, milestones }) => !every || !milestones, "takes every or milestones, not both"),
  z.strictObject({ name: z.literal("cosine"), min: rate.default(0) }),
  z.strictObject({
    name: z.literal("one-cycle"),
    /** Share of the steps in which the rate rises. */
    pctStart: share.default(0.3),
    /** The highest rate, the optimiser's, over the first. */
    divFactor: z.number().min(1).default(25),
    /** The first rate over the last. */
    finalDivFactor: z.number().min(1).default(1e4),
  }),
  z.strictObject({
    name: z.literal("plateau"),
    factor: share.default(0.1),
    /** Epochs without improvement that are let pass. */
    patience: z.int().min(0).default(10),
    /** Relative change that counts as an improvement. */
    threshold: rate.default(1e-4),
    /** Epochs after a reduction that are not counted. */
    cooldown: z.int().min(0).default(0),
    min: rate.default(0),
    monitor: monitorSchema.optional(),
  }),
  z.strictObject({ name: z.literal("inverse-time"), decay: rate.default(1e-6) }),
);

export type Schedule = z.output<typeof scheduleSchema>;
type Named<N extends Schedule["name"]> = Extract<Schedule, { name: N }>;

/** A moment of a training: steps done since its beginning, and its plan. */
export interface Moment {
  readonly step: number;
  readonly stepsPerEpoch: number;
  readonly epochs: number;
}

type Rule<N extends Schedule["name"]> = (
  schedule: Named<N>,
  lr: number,
  at: Moment,
  warmupSteps: number,
) => number;

const cosineBetween = (from: number, to: number, progress: number) =>
  to + ((from - to) * (1 + Math.cos(Math.PI * progress))) / 2;

const rules: { readonly [N in Schedule["name"]]: Rule<N> } = {
  constant: (_, lr) => lr,
  step: ({ every, milestones, gamma }, lr, { step, stepsPerEpoch, epochs }) => {
    const epoch = Math.floor(step / stepsPerEpoch);
    if (every) return lr * gamma ** Math.floor(epoch / every);
    const marks = milestones ?? [epochs / 2, (epochs * 3) / 4];
    return lr * gamma ** marks.filter((mark) => mark <= epoch).length;
  },
  /** Loshchilov and Hutter, 1608.03983, equation 5, one period without restart, begun after the warm-up. */
  cosine: ({ min }, lr, { step, stepsPerEpoch, epochs }, warmupSteps) => {
    const span = Math.max(stepsPerEpoch * epochs - warmupSteps, 1);
    return cosineBetween(lr, min, Math.max(step - warmupSteps, 0) / span);
  },
  /** Smith and Topin, 1708.07120, two phases as PyTorch's OneCycleLR; the momentum stays as it is. */
  "one-cycle": ({ pctStart, divFactor, finalDivFactor }, lr, { step, stepsPerEpoch, epochs }) => {
    const last = stepsPerEpoch * epochs - 1;
    const top = pctStart * (last + 1) - 1;
    const first = lr / divFactor;
    if (step <= top) return cosineBetween(first, lr, top > 0 ? step / top : 1);
    return cosineBetween(lr, first / finalDivFactor, (step - top) / (last - top));
  },
  plateau: (_, lr) => lr,
  /** Keras' InverseTimeDecay, counted in steps. */
  "inverse-time": ({ decay }, lr, { step }) => lr / (1 + decay * step),
};

/** Whether the rate of a step depends on how many epochs there are in all. */
export function spansEpochs(schedule: Schedule): boolean {
  const { name } = schedule;
  return (
    name === "cosine" || name === "one-cycle" || (name === "step" && !schedule.every && !schedule.milestones)
  );
}

/**
 * Learning rate of the step after `at.step` steps: the schedule's, times (step + 1)/warmupSteps in the warm-up
 * (Goyal et al., 1706.02677, section 2.2).
 *
 * @param lr the rate the schedule starts from or leads to; after a plateau, the one its state holds.
 */
export function learningRate(schedule: Schedule, lr: number, at: Moment, warmupSteps = 0): number {
  const rule = rules[schedule.name] as Rule<Schedule["name"]>;
  return Math.min(1, (at.step + 1) / Math.max(warmupSteps, 1)) * rule(schedule, lr, at, warmupSteps);
}

/** What reduce-on-plateau remembers between epochs. */
export interface PlateauState {
  readonly lr: number;
  readonly watch: Watch;
  /** Epochs that will still not be counted. */
  readonly cooldown: number;
}

export const plateauStart = (lr: number): PlateauState => ({
  lr,
  watch: { best: null, waited: 0 },
  cooldown: 0,
});

/** Its state after an epoch whose monitored figure is `value`, as PyTorch's ReduceLROnPlateau (relative threshold). */
export function plateauAfter(
  { factor, patience, threshold, cooldown, min }: Named<"plateau">,
  monitor: Monitor,
  state: PlateauState,
  value: number,
): PlateauState {
  const margin = Math.abs(state.watch.best ?? 0) * threshold;
  const seen = watch(monitor, state.watch, value, margin);
  const waited = state.cooldown > 0 ? 0 : seen.waited;
  if (waited <= patience)
    return { ...state, watch: { ...seen, waited }, cooldown: Math.max(state.cooldown - 1, 0) };
  const lr = Math.max(state.lr * factor, min);
  // PyTorch: a reduction below 1e-8 is none
  return { lr: state.lr - lr > 1e-8 ? lr : state.lr, watch: { ...seen, waited: 0 }, cooldown };
}
