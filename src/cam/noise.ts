import { Random } from "../random/random.ts";
import { imageOf } from "./network.ts";

/** The copy-th noisy version of each image; the noise is the same for every image of a batch, whatever its place. */
export function noisy(images: Float32Array, n: number, noise: number, copy: number): Float32Array {
  const size = images.length / n;
  const random = new Random("smooth-grad", copy);
  const pattern = Float32Array.from({ length: size }, () => random.normal());
  const out = new Float32Array(images.length);
  for (let k = 0; k < n; k++) {
    const image = imageOf(images, k, size);
    let [low, high] = [image[0], image[0]];
    for (const value of image) [low, high] = [Math.min(low, value), Math.max(high, value)];
    for (let i = 0; i < size; i++) out[k * size + i] = image[i] + noise * (high - low) * pattern[i];
  }
  return out;
}
