export interface Scale {
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
  /** From a value to a position. */
  at(value: number): number;
  /** From a position to a value. */
  value(at: number): number;
}

/** Linear or logarithmic, from a domain to positions. */
export function scale(
  [low, high]: readonly [number, number],
  [from, to]: readonly [number, number],
  { log = false, ticks = 5 }: { readonly log?: boolean; readonly ticks?: number } = {},
): Scale {
  const [along, back] = log ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const [a, b] = [along(low), along(high)];
  const span = b - a || 1;
  return {
    domain: [low, high],
    ticks: log ? logTicks(low, high) : linearTicks(low, high, ticks),
    at: (value) => from + ((along(value) - a) / span) * (to - from),
    value: (at) => back(a + ((at - from) / (to - from)) * span),
  };
}

/** Multiples of 1, 2 or 5 times a power of ten, about `wanted` of them. */
export function linearTicks(low: number, high: number, wanted: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((digit) => digit * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

function logTicks(low: number, high: number): number[] {
  const powers = Array.from({ length: 40 }, (_, k) => k - 20);
  const all = powers.flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  const inside = all.filter((tick) => tick >= low && tick <= high);
  return inside.length > 1 ? inside : linearTicks(low, high, 3);
}

/** Exponential moving average with its start corrected for, so that it begins at the first value. @param weight of the past, below 1. */
export function smooth(values: readonly number[], weight: number): number[] {
  let [sum, total] = [0, 0];
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}
