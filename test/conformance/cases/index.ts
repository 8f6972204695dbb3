import { batchNorms } from "./batchNorm.ts";
import { channelConvolutions, convolutions } from "./convolution.ts";
import { elementwise } from "./elementwise.ts";
import { fused } from "./fused.ts";
import { losses } from "./loss.ts";
import { optimizers } from "./optimizer.ts";
import { pools } from "./pool.ts";
import { reductions } from "./reduction.ts";
import { shapeOps } from "./shape.ts";
import type { OpCases } from "./types.ts";

/** Conformance cases of every op. */
export const allCases: readonly OpCases[] = [
  ...elementwise,
  ...convolutions,
  ...channelConvolutions,
  ...fused,
  ...pools,
  ...reductions,
  ...shapeOps,
  ...batchNorms,
  ...losses,
  ...optimizers,
];
