import { topologicalOrder } from "../../autodiff/gradient.ts";
import { batchNormGradSumsOp, batchNormInputGradOp, batchNormOp } from "../../ops/batch-norm.ts";
import {
  addOp,
  broadcastToOp,
  divideOp,
  equalOp,
  multiplyOp,
  reluGradOp,
  reluOp,
  scaleOp,
  selectEqualOp,
  sigmoidGradOp,
  sumToOp,
} from "../../ops/elementwise.ts";
import { apply, nodeOf } from "../../ops/op.ts";
import { maxOp, meanOp } from "../../ops/reduce.ts";
import { type Shape, sameShape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { type Graph, rootsOf } from "../graph.ts";
import { regionAlongOp, regionOp } from "../region.ts";
import { extentOf, hole, regionShape, sumOntoOp } from "../region-program.ts";
import type { OpNode, Pass } from "../rewrite.ts";

const pixelwise = new Set(
  [
    batchNormOp,
    batchNormInputGradOp,
    addOp,
    multiplyOp,
    reluOp,
    reluGradOp,
    equalOp,
    selectEqualOp,
    broadcastToOp,
    divideOp,
    scaleOp,
    sigmoidGradOp,
  ].map(({ name }) => name),
);
const normal = new Set([batchNormOp, batchNormInputGradOp, batchNormGradSumsOp].map(({ name }) => name));
const reductions = new Set([sumToOp, sumOntoOp, meanOp, maxOp, batchNormGradSumsOp].map(({ name }) => name));

// what the kernel takes in one record, with room for the results
const MOST_STEPS = 24;
const MOST_OPERANDS = 20;
const MOST_ROOTS = 4;

/** Maps too small or too thin are left to the ops' own kernels. */
const worthwhile = (shape: Shape) => shape.length === 4 && shape[1] >= 8 && sizeOf(shape) > shape[1];

/** Of a gate and what belongs to it: one value a channel of an image. */
const isGate = ([, , h, w]: Shape) => h * w === 1;

/** Whether it is of gates of the images of that shape. */
const isGateOf = (gate: Shape, full: Shape) =>
  isGate(gate) && !isGate(full) && gate[0] === full[0] && gate[1] === full[1];

/** The node when it can be part of a region: its inputs and its output all fit one shape. */
function memberOf(x: Tensor, names: ReadonlySet<string>): OpNode | undefined {
  const node = nodeOf(x);
  if (!node || !names.has(node.op.name)) return undefined;
  const full = regionShape(x);
  const vectors = normal.has(node.op.name); // which alone read [C] and [2,C]
  const fits = [...node.inputs, x].every((part) => {
    const extent = part.layout === "activation" ? extentOf(part.shape, full) : undefined;
    return extent !== undefined && (vectors || extent <= 2);
  });
  const works = names !== reductions || !sameShape(x.shape, full); // a mean of single pixels does nothing
  return worthwhile(full) && fits && works ? node : undefined;
}

/** What becomes of a pixelwise tensor. */
interface Fate {
  /** Whether readers compute it for themselves. */
  readonly inline: boolean;
  /** Whether it is written to memory. */
  written: boolean;
}

/** What a root does in one walk over memory, with all that is inlined into it. */
interface Work {
  readonly inlined: ReadonlySet<Tensor>;
  /** All that is read, in order; those of the region's own shape. */
  readonly operands: ReadonlySet<Tensor>;
  readonly leaves: ReadonlySet<Tensor>;
  readonly steps: number;
}

class Plan {
  readonly order: readonly Tensor[];
  readonly #fates = new Map<Tensor, Fate>();
  readonly #works = new Map<Tensor, Work>();
  readonly #readers = new Map<Tensor, OpNode[]>();
  readonly #readFor = new Map<Tensor, Tensor[]>(); // what is written is computed from it
  readonly #kept: ReadonlySet<Tensor>;

  constructor(graph: Graph) {
    this.order = topologicalOrder(rootsOf(graph));
    this.#kept = new Set(Object.values(graph.outputs));
    for (const x of this.order) {
      const node = nodeOf(x);
      for (const source of node?.inputs ?? []) {
        this.#readers.set(source, [...(this.#readers.get(source) ?? []), node!]);
      }
    }
    for (const x of this.order) {
      if (memberOf(x, pixelwise)) this.#fates.set(x, this.#fate(x));
      else if (memberOf(x, reductions)) this.work(x);
    }
    for (const x of this.order.filter((y) => this.written(y))) {
      for (const source of this.sources(x)) {
        this.#readFor.set(source, [...(this.#readFor.get(source) ?? []), x]);
      }
    }
  }

  #fate(x: Tensor): Fate {
    const { leaves } = this.work(x);
    const readers = new Set(this.#readers.get(x));
    const readOutside = [...readers].some(({ output }) => {
      const inside = memberOf(output, pixelwise) ?? memberOf(output, reductions);
      if (!inside) return true;
      const full = regionShape(output);
      return !sameShape(full, x.shape) && !(isGateOf(x.shape, full) && this.#isCheap(x, full));
    });
    const most = isGate(x.shape) ? 3 : 1; // of the tensors that readers rather read than the result
    const many = leaves.size > Math.max(most, 2); // else all readers would inline what is written for them
    const written = this.#kept.has(x) || readOutside || (readers.size > 1 && many);
    return { written, inline: !written || leaves.size <= most };
  }

  /** The fate of what a walk over that shape may compute for itself. */
  #fateIn(x: Tensor, full: Shape): Fate | undefined {
    const fate = this.#fates.get(x);
    return sameShape(x.shape, full) || (isGateOf(x.shape, full) && !fate?.written) ? fate : undefined;
  }

  /** Whether a value of gates is rather computed for all pixels of its image than written. */
  #isCheap(x: Tensor, full: Shape): boolean {
    const { operands, steps } = this.work(x);
    const fit = [...operands].every(({ shape }) => extentOf(shape, full) !== undefined);
    return steps === 1 && fit && this.#readers.get(x)!.length === 1;
  }

  /** Whether a tensor of a region is written to memory, for readers that do not compute it themselves. */
  written(x: Tensor): boolean {
    return this.#fates.get(x)?.written ?? true;
  }

  /** Whether others of its walk can read it as it is computed: a pixel of it needs that pixel alone. */
  passesOn(x: Tensor): boolean {
    return this.#fates.has(x);
  }

  /** Whether something reads a tensor from memory, or asks for it, that is not computed in this walk. */
  neededOutside(x: Tensor, walk: Group): boolean {
    return this.#kept.has(x) || (this.#readFor.get(x) ?? []).some((y) => !walk.includes(y));
  }

  /** What is read to compute a tensor. */
  sources(x: Tensor): Iterable<Tensor> {
    return this.#works.get(x)?.operands ?? nodeOf(x)?.inputs ?? [];
  }

  /** What it takes to compute a pixelwise tensor or a reduction. */
  work(x: Tensor): Work {
    const known = this.#works.get(x);
    if (known) return known;
    const full = regionShape(x);
    const inlined = new Set<Tensor>();
    let operands = new Set<Tensor>();
    let steps = 1;
    for (const source of nodeOf(x)!.inputs) {
      const fate = this.#fateIn(source, full);
      const inner = fate?.inline ? this.work(source) : undefined;
      const more = new Set([...operands, ...(inner?.operands ?? [])]);
      if (inner && more.size < MOST_OPERANDS - 4 && steps + inner.steps <= MOST_STEPS) {
        inlined.add(source);
        operands = more;
        steps += inner.steps;
      } else {
        operands.add(source);
        if (fate) fate.written = true;
      }
    }
    const leaves = new Set([...operands].filter(({ shape }) => sameShape(shape, full)));
    const work = { inlined, operands, leaves, steps };
    this.#works.set(x, work);
    return work;
  }
}

/**
 * What is computed in one walk over memory: reductions, because one reads all that the others read; of gates, of which
 * there are many and all small, also what is written, where something is read in common or one reads the other.
 */
type Group = Tensor[];

/** What a group reads from memory. */
const operandsOf = (plan: Plan, group: Group) =>
  [...new Set(group.flatMap((root) => [...plan.work(root).operands]))].filter((x) => !group.includes(x));

const isSubset = <T>(a: ReadonlySet<T>, b: ReadonlySet<T>) => [...a].every((x) => b.has(x));

function groupRoots(plan: Plan): Map<Tensor, Group> {
  const groupOf = new Map<Tensor, Group>();
  const groups: Group[] = [];
  const reads = (x: Tensor, y: Tensor) => plan.work(x).leaves.has(y);
  const fits = (group: Group, x: Tensor) => {
    const all = [...group, x];
    const works = all.map((root) => plan.work(root));
    return (
      group.length < MOST_ROOTS &&
      sameShape(regionShape(group[0]), regionShape(x)) &&
      operandsOf(plan, all).length <= MOST_OPERANDS &&
      all.every((root) => plan.neededOutside(root, all)) &&
      works.reduce((sum, { steps }) => sum + steps, 0) <= 2 * MOST_STEPS &&
      (isGate(regionShape(x))
        ? group.some(
            (root) => reads(x, root) || [...plan.work(root).leaves].some((y) => y === x || reads(x, y)),
          )
        : works.some(({ leaves }) => works.every((other) => isSubset(other.leaves, leaves))))
    );
  };
  const found = plan.order.filter(
    (x) => memberOf(x, reductions) || (isGate(x.shape) && memberOf(x, pixelwise) && plan.written(x)),
  );
  // those that read, and compute, most first: the others join where most of what they compute is computed already
  found.sort((a, b) => {
    const [one, other] = [plan.work(a), plan.work(b)];
    return other.leaves.size - one.leaves.size || other.steps - one.steps;
  });
  const inlined = (x: Tensor): Tensor[] => [...plan.work(x).inlined].flatMap((y) => [y, ...inlined(y)]);
  const shared = (group: Group, x: Tensor) => {
    const known = new Set(group.flatMap(inlined));
    const passedOn = group.filter((root) => reads(x, root) || reads(root, x));
    return passedOn.length + inlined(x).filter((y) => known.has(y)).length;
  };
  for (const x of found) {
    const open = groups
      .filter(
        (group) =>
          fits(group, x) && !reaches(plan, [x], group, groupOf) && !reaches(plan, group, [x], groupOf),
      )
      .sort((a, b) => shared(b, x) - shared(a, x));
    const group = open[0] ?? [];
    group.push(x);
    if (open.length === 0) groups.push(group);
    groupOf.set(x, group);
  }
  return groupOf;
}

/** Whether tensors are computed from others otherwise than in one walk with them, groups being computed whole. */
function reaches(plan: Plan, from: Group, to: Group, groupOf: ReadonlyMap<Tensor, Group>): boolean {
  const goals = new Set(to);
  const seen = new Set<Tensor>(from);
  const stack = from.flatMap((x) => [...plan.sources(x)].filter((y) => !(goals.has(y) && plan.passesOn(y))));
  while (stack.length > 0) {
    const x = stack.pop()!;
    if (goals.has(x)) return true;
    if (seen.has(x)) continue;
    seen.add(x);
    stack.push(...plan.sources(x), ...(groupOf.get(x) ?? []));
  }
  return false;
}

const rebuilt = (x: Tensor, { op, attrs }: OpNode, inputs: readonly Tensor[]): Tensor => ({
  ...x,
  source: { kind: "op", op, inputs, attrs },
});

/** The same ops on holes for `operands`. */
function body(roots: readonly Tensor[], operands: readonly Tensor[], plan: Plan): Tensor[] {
  const holes = new Map(operands.map((x, k) => [x, hole(k, x)]));
  const copies = new Map<Tensor, Tensor>();
  const copy = (x: Tensor): Tensor => {
    const known = copies.get(x);
    if (known) return known;
    const { inlined } = plan.work(x);
    const node = nodeOf(x)!;
    const made = rebuilt(
      x,
      node,
      node.inputs.map((y) => (inlined.has(y) || roots.includes(y) ? copy(y) : holes.get(y)!)),
    );
    copies.set(x, made);
    return made;
  };
  return roots.map(copy);
}

function fuse(graph: Graph): Graph {
  const plan = new Plan(graph);
  const groups = groupRoots(plan);
  const done = new Map<Tensor, Tensor>();
  const makeRegion = (roots: Group): void => {
    const operands = operandsOf(plan, roots);
    const attrs = { roots: body(roots, operands, plan), index: 0 };
    const inputs = operands.map(renew);
    const main = apply(regionOp, inputs, attrs);
    roots.forEach((root, index) => {
      const result = index === 0 ? main : apply(regionAlongOp, [main, ...inputs], { ...attrs, index });
      result.label = root.label;
      done.set(root, result);
    });
  };

  /** What stands in for a tensor of the old graph. */
  function renew(x: Tensor): Tensor {
    const known = done.get(x);
    const node = nodeOf(x);
    if (known || !node) return known ?? x;
    const group = groups.get(x) ?? [x];
    const region = groups.has(x) || memberOf(x, pixelwise);
    if (region && (group.length > 1 || plan.work(x).steps > 1)) {
      makeRegion(group);
      return done.get(x)!;
    }
    const inputs = node.inputs.map(renew);
    const same = inputs.every((source, k) => source === node.inputs[k]);
    const result = same ? x : rebuilt(x, node, inputs);
    done.set(x, result);
    return result;
  }
  // in order, so that what is made at once never lies deep
  for (const x of plan.order) if (plan.written(x)) renew(x);
  return {
    outputs: Object.fromEntries(Object.entries(graph.outputs).map(([name, x]) => [name, renew(x)])),
    effects: graph.effects.map(renew),
  };
}

export const fuseRegions: Pass = {
  name: "regions",
  summary:
    "pixelwise ops that follow each other walk over memory once; what is cheap is computed where it is read and never written",
  run: fuse,
};
