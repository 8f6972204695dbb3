/** 23581642 → 23,581,642. */
export const grouped = (n: number) => n.toLocaleString("en-US");

/** Multiply-adds and other large counts with three figures: 6.01 G, 83.1 M, 960. */
export function scaled(n: number): string {
  const units = ["", " k", " M", " G", " T"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(n) : n.toPrecision(3)}${units[unit]}`;
}

/** A fraction as percent with two decimals, without the sign: 0.8785 → 87.85. */
export const percent = (fraction: number) => (100 * fraction).toFixed(2);

/** The two largest units of a duration: 3 d 4 h, 2 h 05 min, 4 min 10 s, 12 s, 0.4 s. */
export function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Images per second: one decimal below 100. */
export const rate = (perSecond: number) =>
  perSecond < 99.95 ? perSecond.toFixed(1) : grouped(Math.round(perSecond));

/** 1 epoch, 2 epochs. */
export const counted = (n: number, what: string) => `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;
