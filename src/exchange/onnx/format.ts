import type { Format } from "../format.ts";
import { readOnnx } from "./read.ts";
import { writeOnnx } from "./write.ts";

export const onnx: Format = {
  name: "onnx",
  about: "inference in any ONNX runtime, a browser's too, with a Grad-CAM map as an output",
  extensions: [".onnx"],
  files: [{ name: "model.onnx", write: writeOnnx }],
  read: readOnnx,
};
