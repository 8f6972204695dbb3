/** A closed polygon, x and y in turn; y points down. A hole runs the other way round. */
export type Polygon = readonly number[];

/** One kind of object: its outline with area 1 and its centroid at the origin. */
export interface Outline {
  readonly name: string;
  readonly polygons: readonly Polygon[];
  /** Largest distance of a point from the centroid. */
  readonly radius: number;
}

const CIRCLE_STEPS = 12;

/** The ten kinds, by name: areas are equal so that size tells nothing about the class. */
export const OUTLINES: readonly Outline[] = [
  outline("arrow", [[-1, -0.3, 0.1, -0.3, 0.1, -0.85, 1, 0, 0.1, 0.85, 0.1, 0.3, -1, 0.3]]),
  outline("circle", [circle(1)]),
  outline("crescent", [crescent(0.55, 0.72)]),
  outline("cross", [cross(0.34)]),
  outline("heart", [heart()]),
  outline("hourglass", [[-0.8, -1, 0.8, -1, 0.12, 0, 0.8, 1, -0.8, 1, -0.12, 0]]),
  outline("ring", [circle(1), reversed(circle(0.6))]),
  outline("square", [[-1, -1, 1, -1, 1, 1, -1, 1]]),
  outline("star", [star(0.42)]),
  outline("triangle", [[0, -2, Math.sqrt(3), 1, -Math.sqrt(3), 1]]),
];

function outline(name: string, polygons: readonly Polygon[]): Outline {
  const { area, x, y } = centroid(polygons);
  const scale = 1 / Math.sqrt(area);
  const placed = polygons.map((polygon) => polygon.map((v, i) => (v - (i % 2 === 0 ? x : y)) * scale));
  const radius = Math.max(...placed.flatMap(points).map(([px, py]) => Math.sqrt(px * px + py * py)));
  return { name, polygons: placed, radius };
}

/** Area and centroid by the shoelace formula; holes count negative. */
function centroid(polygons: readonly Polygon[]): { area: number; x: number; y: number } {
  let doubled = 0;
  let x = 0;
  let y = 0;
  for (const polygon of polygons) {
    const corners = points(polygon);
    corners.forEach(([x0, y0], i) => {
      const [x1, y1] = corners[(i + 1) % corners.length];
      const cross = x0 * y1 - x1 * y0;
      doubled += cross;
      x += (x0 + x1) * cross;
      y += (y0 + y1) * cross;
    });
  }
  return { area: Math.abs(doubled) / 2, x: x / (3 * doubled), y: y / (3 * doubled) };
}

export function points(polygon: Polygon): [number, number][] {
  return Array.from({ length: polygon.length / 2 }, (_, i) => [polygon[2 * i], polygon[2 * i + 1]]);
}

function reversed(polygon: Polygon): Polygon {
  return points(polygon).reverse().flat();
}

/**
 * Cosine and sine of 2·atan(t), with no function whose last bit differs between platforms: t from −1 to 1 turns
 * by −90° to 90°, nearly evenly.
 */
export function halfTangent(t: number): [cos: number, sin: number] {
  const d = 1 + t * t;
  return [(1 - t * t) / d, (2 * t) / d];
}

/** Points of the unit circle from angle −2·atan(t) to 2·atan(t) around (1, 0), ends included. */
function arc(t: number, steps: number): [number, number][] {
  return Array.from({ length: steps + 1 }, (_, i) => halfTangent(t * ((2 * i) / steps - 1)));
}

function circle(radius: number): Polygon {
  const right = arc(1, CIRCLE_STEPS).slice(0, -1);
  const left = right.map(([x, y]) => [-x, -y]);
  return [...right, ...left].flat().map((v) => v * radius);
}

/** The unit circle without a circle of the given radius whose centre lies `offset` to the left. */
function crescent(offset: number, radius: number): Polygon {
  // The circles meet at x: x² + y² = 1 and (x + offset)² + y² = radius².
  const x = (radius * radius - 1 - offset * offset) / (2 * offset);
  const y = Math.sqrt(1 - x * x);
  const outer = arc(y / (1 + x), 2 * CIRCLE_STEPS);
  const cut = arc(y / (radius + x + offset), CIRCLE_STEPS).map(([cx, cy]) => [
    cx * radius - offset,
    cy * radius,
  ]);
  return [...outer, ...cut.reverse().slice(1, -1)].flat();
}

function cross(arm: number): Polygon {
  const corner = [1, -arm, 1, arm, arm, arm, arm, 1, -arm, 1, -arm, arm];
  return [...corner, ...corner.map((v) => -v)];
}

/** The curve x = 16 sin³, y = 13 cos − 6.5 cos 2 − 2 cos 3 − cos 4, with the multiple angles written in cos. */
function heart(): Polygon {
  return points(circle(1)).flatMap(([c, s]) => {
    const y = 13 * c - 6.5 * (2 * c * c - 1) - 2 * (4 * c ** 3 - 3 * c) - (8 * c ** 4 - 8 * c * c + 1);
    return [16 * s ** 3, -y];
  });
}

/** Five points; `inner` is the radius of the notches. */
function star(inner: number): Polygon {
  // cos and sin of 36°, in square roots, which are exact to the last bit everywhere.
  const c = (1 + Math.sqrt(5)) / 4;
  const s = Math.sqrt(10 - 2 * Math.sqrt(5)) / 4;
  const polygon: number[] = [];
  let x = 0;
  let y = -1;
  for (let i = 0; i < 10; i++) {
    const radius = i % 2 === 0 ? 1 : inner;
    polygon.push(x * radius, y * radius);
    [x, y] = [x * c - y * s, x * s + y * c];
  }
  return polygon;
}
