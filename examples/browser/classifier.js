import * as ort from "onnxruntime-web";
import { metadataOf } from "./metadata.js";

ort.env.wasm.wasmPaths = "/onnxruntime-web/";
ort.env.wasm.numThreads = 1; // more need a page that is cross-origin isolated

/** Opens a model that `atento export --to onnx` wrote. */
export async function openModel(url) {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const { classes, image } = metadataOf(bytes);
  const [height, width] = image;
  const session = await ort.InferenceSession.create(bytes);
  return {
    ...{ classes, height, width },
    /** Classes with probabilities, the most probable first, and the map [height × width] in 0 to 1. */
    async classify(bitmap) {
      const pixels = cover(bitmap, width, height);
      const plane = width * height;
      const values = new Float32Array(3 * plane);
      for (let i = 0; i < 3 * plane; i++) {
        values[i] = pixels.data[4 * (i % plane) + Math.floor(i / plane)] / 255;
      }
      const feeds = { image: new ort.Tensor("float32", values, [1, 3, height, width]) };
      const { probabilities, map } = await session.run(feeds);
      const ranked = classes.map((name, k) => ({ name, probability: probabilities.data[k] }));
      return { classes: ranked.sort((a, b) => b.probability - a.probability), map: map?.data, pixels };
    },
  };
}

/** A picture scaled to cover the size, and cut. */
function cover(bitmap, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  return context.getImageData(0, 0, width, height);
}
