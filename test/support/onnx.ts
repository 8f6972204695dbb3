import * as ort from "onnxruntime-node";
import { type Shape, sizeOf } from "../../src/tensor/tensor.ts";

export interface OnnxValue {
  readonly shape: Shape;
  readonly values: Float32Array;
}

/** Runs an ONNX model by onnxruntime, which is not ours. */
export async function runOnnx(
  model: Uint8Array,
  feeds: Readonly<Record<string, OnnxValue>>,
): Promise<Record<string, OnnxValue>> {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const tensors = Object.entries(feeds).map(
    ([name, { shape, values }]) => [name, new ort.Tensor("float32", values.slice(), [...shape])] as const,
  );
  const outputs = await session.run(Object.fromEntries(tensors));
  const answer = Object.entries(outputs).map(([name, { dims, data }]) => {
    const values = Float32Array.from(data as Float32Array);
    if (values.length !== sizeOf(dims)) throw new Error(`${name}: ${values.length} values for ${dims}`);
    return [name, { shape: dims, values }] as const;
  });
  await session.release();
  return Object.fromEntries(answer);
}
