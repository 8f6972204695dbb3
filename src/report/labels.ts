/**
 * Positions for labels of equal height near the places they belong to, none over another: as near as can be in
 * the sense of least squares, by pooling neighbours that would touch.
 *
 * @param height of a label, in the unit of the places; what does not fit into `range` spills over its top.
 */
export function spreadLabels(
  places: readonly number[],
  height: number,
  [low, high]: readonly [number, number],
): number[] {
  const order = places.map((_, k) => k).sort((a, b) => places[a] - places[b] || b - a);
  // In a pool, the k-th label stands k heights above the first: the pool's mean offset fixes where it starts.
  const pools: { start: number; members: number[] }[] = [];
  for (const k of order) {
    let pool = { start: places[k], members: [k] };
    for (let below = pools.at(-1); below && overlaps(below, pool); below = pools.at(-1)) {
      pools.pop();
      pool = settle([...below.members, ...pool.members]);
    }
    pools.push(pool);
  }
  const positions = new Array<number>(places.length);
  for (const { start, members } of pools) {
    members.forEach((k, place) => {
      positions[k] = start + place * height;
    });
  }
  return positions;

  function overlaps(below: { start: number; members: number[] }, above: { start: number }): boolean {
    return below.start + below.members.length * height > above.start;
  }

  function settle(members: number[]) {
    const mean = members.reduce((sum, k, place) => sum + places[k] - place * height, 0) / members.length;
    const top = high - (members.length - 1) * height;
    return { start: Math.max(low, Math.min(mean, top)), members };
  }
}
