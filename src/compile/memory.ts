/** A piece of memory and when it is needed: from one position of the program to another, both included. */
export interface Lifetime {
  readonly floats: number;
  readonly first: number;
  readonly last: number;
}

export interface MemoryPlan {
  /** In floats, for each lifetime in the order given. */
  readonly offsets: readonly number[];
  readonly total: number;
}

/** Floats of a cache line: no two pieces of memory share one. */
export const LINE = 16;

/**
 * Floats left free behind a tensor of a page or more. The sizes of most are multiples of a page, and what begins at the
 * same place of its page fights for the same lines of the first-level cache: a walk over ten tensors would miss always.
 * An odd number of lines, so that neighbours begin at any of them.
 */
const GAP = 5 * LINE;
const PAGE = 1024;

/**
 * Lays lifetimes into one arena so that those that overlap in time do not overlap in space: the largest first,
 * each at the lowest place that is free for as long as it lives (Pisarchyk and Lee, 2001.03288, greedy by size).
 */
export function planMemory(lifetimes: readonly Lifetime[]): MemoryPlan {
  const order = lifetimes.map((_, k) => k).sort((a, b) => lifetimes[b].floats - lifetimes[a].floats || a - b);
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const placed: { begin: number; end: number; first: number; last: number }[] = []; // by begin
  let total = 0;
  for (const k of order) {
    const { floats, first, last } = lifetimes[k];
    const size = Math.ceil(floats / LINE) * LINE + (floats >= PAGE ? GAP : 0);
    let begin = 0;
    for (const other of placed) {
      if (other.last < first || other.first > last) continue;
      if (other.begin - begin >= size) break;
      begin = Math.max(begin, other.end);
    }
    offsets[k] = begin;
    const at = placed.findIndex((other) => other.begin > begin);
    placed.splice(at < 0 ? placed.length : at, 0, { begin, end: begin + size, first, last });
    total = Math.max(total, begin + size);
  }
  return { offsets, total };
}
