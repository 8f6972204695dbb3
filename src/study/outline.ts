import type { DataSource } from "../data/registry.ts";
import type { DataOutline } from "./settings.ts";

const CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split(" ");

/** What is known of a source without reading it, so that a plan needs no download; undefined where nothing is. */
export function knownOutline({ source }: DataSource): DataOutline | undefined {
  if (source !== "cifar10") return undefined;
  return {
    name: "cifar10",
    classes: CIFAR10_CLASSES,
    height: 32,
    width: 32,
    train: { count: 50_000 },
    test: { count: 10_000 },
  };
}
