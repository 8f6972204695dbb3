import type { Tensor } from "../../tensor/tensor.ts";
import { byRule, type Pass } from "../rewrite.ts";

/** What is computed twice from the same tensors is computed once. */
export const mergeEqual: Pass = {
  name: "merge equal",
  summary: "what would be computed twice is computed once",
  run: byRule(() => {
    const seen = new Map<string, Tensor>();
    const ids = new Map<Tensor, number>();
    const id = (x: Tensor) => {
      if (!ids.has(x)) ids.set(x, ids.size);
      return ids.get(x);
    };
    return ({ op, inputs, attrs, output }) => {
      if (op.writes) return undefined;
      const key = `${op.name} ${inputs.map(id)} ${JSON.stringify(attrs)}`;
      const known = seen.get(key);
      if (known) return known;
      seen.set(key, output);
      return undefined;
    };
  }),
};
