import { Random } from "../random/random.ts";

/**
 * Random changes to training images, always in this order: `crop` (the image shifted by up to `padding` pixels,
 * zeros after normalisation where nothing is left), `flip` (left and right exchanged, in half of the cases),
 * `cutout` (a square of `size` pixels set to zero, partly outside where it lies near the border; DeVries and
 * Taylor, 2017, arXiv:1708.04552).
 */
export interface Augmentation {
  readonly crop?: { readonly padding: number };
  readonly flip?: boolean;
  readonly cutout?: { readonly size: number };
}

/** What happens to one image: shift in pixels, mirroring, and the square set to zero (bottom and right excluded). */
export interface Change {
  readonly dy: number;
  readonly dx: number;
  readonly flip: boolean;
  readonly cutout?: {
    readonly top: number;
    readonly left: number;
    readonly bottom: number;
    readonly right: number;
  };
}

export const UNCHANGED: Change = { dy: 0, dx: 0, flip: false };

/**
 * The change of one image in one epoch: depends on seed, epoch and the image's index in its split alone. Every
 * part draws its own number, so that switching one on leaves the others as they are.
 */
export function drawChange(
  augmentation: Augmentation,
  height: number,
  width: number,
  seed: number,
  epoch: number,
  index: number,
): Change {
  const random = new Random("augment", seed, epoch, index);
  const [down, right, mirror, y, x] = [
    random.next(),
    random.next(),
    random.next(),
    random.next(),
    random.next(),
  ];
  const { crop, flip, cutout } = augmentation;
  const shift = (share: number) => (crop ? Math.floor(share * (2 * crop.padding + 1)) - crop.padding : 0);
  return {
    dy: shift(down),
    dx: shift(right),
    flip: flip === true && mirror < 0.5,
    cutout: cutout && squareAround(Math.floor(y * height), Math.floor(x * width), cutout.size, height, width),
  };
}

function squareAround(y: number, x: number, size: number, height: number, width: number) {
  const [top, left] = [y - Math.floor(size / 2), x - Math.floor(size / 2)];
  return {
    top: Math.max(0, top),
    left: Math.max(0, left),
    bottom: Math.min(height, top + size),
    right: Math.min(width, left + size),
  };
}
