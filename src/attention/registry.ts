// Written by scripts/registry.mjs from the files of this folder.
import { attention as cbam } from "./cbam.ts";
import { attention as eca } from "./eca.ts";
import { attention as se } from "./se.ts";
import type { AttentionSpec } from "./spec.ts";

/** Attention modules by name. */
export const attentions: ReadonlyMap<string, AttentionSpec> = new Map(
  [cbam, eca, se].map((spec) => [spec.name, spec as unknown as AttentionSpec]),
);
