import { Explainer } from "../cam/explainer.ts";
import { clipped, finished } from "../cam/map.ts";
import { methods } from "../cam/methods/registry.ts";
import type { Engine } from "../engine/engine.ts";
import type { ParityCase } from "./case.ts";
import type { Computed } from "./quantities.ts";

/** Our methods by the names of a case, which have no hyphens. */
const known = new Map([...methods].map(([name, method]) => [name.replaceAll("-", ""), method]));

/**
 * Those of the heatmaps asked for that are known here: `cam.target` [N], `cam.<method>` [N,h,w] clipped at 0 and
 * divided by the maximum, `map.<method>` [N,H,W] finished.
 */
export async function explain(at: ParityCase, engine: Engine, asked: readonly string[]): Promise<Computed> {
  const names = [...new Set(asked.map((name) => name.replace(/^(cam|map)\./, "")))];
  const wanted = names.flatMap((name) => known.get(name) ?? []);
  const weights = new Map([...at.initial].map(([name, { values }]) => [name, values]));
  const classes = new Array<string>(at.model.classes).fill("");
  const explainer = new Explainer({ model: at.model, image: at.image, weights, classes }, engine);
  try {
    const { targets, maps, count } = await explainer.maps({
      images: at.images,
      methods: wanted.map((method) => ({ method })),
      layers: [at.camLayer],
    });
    const computed = new Map<string, ArrayLike<number>>([
      ["cam.target", targets.map((target) => target.class)],
    ]);
    const each = (values: Float32Array, bring: (own: Float32Array) => Float32Array) =>
      Array.from({ length: count }, (_, k) => [
        ...bring(values.slice((k * values.length) / count, ((k + 1) * values.length) / count)),
      ]).flat();
    for (const { method, height, width, values } of maps) {
      const name = method.name.replaceAll("-", "");
      const [H, W] = at.image;
      computed.set(`cam.${name}`, each(values, clipped));
      computed.set(
        `map.${name}`,
        each(values, (own) => finished(own, height, width, H, W)),
      );
    }
    return new Map([...computed].filter(([name]) => asked.includes(name)));
  } finally {
    explainer.close();
  }
}
