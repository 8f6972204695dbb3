import { attentions } from "../attention/registry.ts";
import type { Options } from "../attention/spec.ts";
import type { InitializationName } from "../nn/initializers.ts";
import { conv, dense, norm } from "../nn/layers.ts";
import type { BatchNormOptions, Scope } from "../nn/scope.ts";
import { add, relu } from "../ops/elementwise.ts";
import { maxPool2d } from "../ops/pool.ts";
import { globalAvgPool } from "../ops/reduce.ts";
import { reshape } from "../ops/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface Stem {
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  /** 3×3 max pool of stride 2 after the convolution. */
  readonly pool: boolean;
}

/** A ResNet (He et al., 1512.03385) said completely: what is kept with its weights. */
export interface ResNet {
  readonly block: "bottleneck" | "basic";
  readonly stem: Stem;
  readonly depths: readonly number[];
  readonly widths: readonly number[];
  /** Stride of each stage's first block. */
  readonly strides: readonly number[];
  /** Output channels of a block over its width. */
  readonly expansion: number;
  readonly attention: { readonly name: string; readonly options: Options };
  /** Blocks that have attention: all, or only those whose shortcut is the identity. */
  readonly placement: "all" | "identity";
  readonly batchNorm: BatchNormOptions;
  /** Whose custom the initial weights follow. */
  readonly initialization: InitializationName;
  readonly classes: number;
}

/** x [N,3,H,W] → logits [N,classes]. Names are torchvision's and timm's. */
export function resnet(x: Tensor, nn: Scope, model: ResNet): Tensor {
  const { stem } = model;
  let y = conv("conv1", x, nn, stem.channels, { kernel: stem.kernel, stride: stem.stride });
  y = relu(norm("bn1", y, nn));
  if (stem.pool) y = nn.layer("maxpool", () => maxPool2d(y, { kernel: 3, stride: 2, padding: 1 }));
  model.depths.forEach((depth, stage) => {
    y = nn.layer(`layer${stage + 1}`, (own) => {
      let z = y;
      for (let b = 0; b < depth; b++) {
        const stride = b === 0 ? model.strides[stage] : 1;
        z = own.layer(`${b}`, (at) => block(z, at, model, model.widths[stage], stride));
      }
      return z;
    });
  });
  const pooled = nn.layer("avgpool", () => globalAvgPool(y));
  return dense("fc", reshape(pooled, [x.shape[0], y.shape[1]]), nn, model.classes);
}

function block(x: Tensor, nn: Scope, model: ResNet, width: number, stride: number): Tensor {
  const { expansion } = model;
  const channels = width * expansion;
  const identity = stride === 1 && x.shape[1] === channels;
  let y =
    model.block === "basic" ? basic(x, nn, model, width, stride) : bottleneck(x, nn, model, width, stride);
  const spec = attentions.get(model.attention.name);
  if (spec && (identity || model.placement === "all")) {
    y = nn.layer("se", (own) => spec.build(y, own, model.attention.options));
  }
  if (identity) return relu(add(y, x));
  const projected = conv("downsample.0", x, nn, channels, { kernel: 1, stride });
  return relu(add(y, norm("downsample.1", projected, nn)));
}

/** 1×1, 3×3 with the stride, 1×1. */
function bottleneck(x: Tensor, nn: Scope, { expansion }: ResNet, width: number, stride: number): Tensor {
  let y = relu(norm("bn1", conv("conv1", x, nn, width, { kernel: 1 }), nn));
  y = relu(norm("bn2", conv("conv2", y, nn, width, { kernel: 3, stride }), nn));
  return norm("bn3", conv("conv3", y, nn, width * expansion, { kernel: 1 }), nn);
}

/** 3×3 with the stride, 3×3. */
function basic(x: Tensor, nn: Scope, { expansion }: ResNet, width: number, stride: number): Tensor {
  const y = relu(norm("bn1", conv("conv1", x, nn, width, { kernel: 3, stride }), nn));
  return norm("bn2", conv("conv2", y, nn, width * expansion, { kernel: 3 }), nn);
}
