import { UserError } from "../tensor/errors.ts";
import type { Dataset, Normalization } from "./dataset.ts";

export type NormalizationKind = "channel" | "scalar";

/**
 * Mean and standard deviation (of the population, as NumPy's `std`) of bytes/255 over the training images at
 * `indices`: three of each, or one mean and one deviation over all pixels and channels, as in the original
 * study. A channel without variation gets deviation 1. Throws UserError when there are no images.
 */
export function measureNormalization(
  dataset: Dataset,
  indices: Uint32Array,
  kind: NormalizationKind,
): Normalization {
  if (indices.length === 0) throw new UserError("normalize: there are no training images to measure");
  const histograms = channelHistograms(dataset.train.images, dataset.height * dataset.width * 3, indices);
  if (kind === "channel") {
    const [r, g, b] = histograms.map(moments);
    return { mean: [r.mean, g.mean, b.mean], std: [r.std, g.std, b.std] };
  }
  const { mean, std } = moments(
    histograms[0].map((n, byte) => n + histograms[1][byte] + histograms[2][byte]),
  );
  return { mean: [mean, mean, mean], std: [std, std, std] };
}

/** How often each byte occurs in each channel: counts are exact, so the moments below do not depend on order. */
function channelHistograms(images: Uint8Array, imageBytes: number, indices: Uint32Array): Float64Array[] {
  const histograms = [new Float64Array(256), new Float64Array(256), new Float64Array(256)];
  const [red, green, blue] = histograms;
  for (const index of indices) {
    const end = (index + 1) * imageBytes;
    for (let i = index * imageBytes; i < end; i += 3) {
      red[images[i]]++;
      green[images[i + 1]]++;
      blue[images[i + 2]]++;
    }
  }
  return histograms;
}

function moments(histogram: Float64Array): { mean: number; std: number } {
  const count = histogram.reduce((a, b) => a + b, 0);
  const mean = histogram.reduce((sum, n, byte) => sum + n * byte, 0) / count;
  const variance = histogram.reduce((sum, n, byte) => sum + n * (byte - mean) ** 2, 0) / count;
  return { mean: mean / 255, std: variance > 0 ? Math.sqrt(variance) / 255 : 1 };
}
