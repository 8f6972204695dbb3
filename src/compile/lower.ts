import { type Node, nodeOf, type Op } from "../ops/op.ts";
import { sameShape, sizeOf, type Tensor, type Variable } from "../tensor/tensor.ts";
import type { Graph } from "./graph.ts";
import { inputsOf } from "./inputs.ts";
import { LINE, type Lifetime, planMemory } from "./memory.ts";
import { lastUses, schedule } from "./schedule.ts";

/** A place in the arena, in floats: variables first, scratch after them. */
export interface Place {
  readonly offset: number;
  readonly floats: number;
}

/** One call of a kernel. */
export interface ProgramRecord {
  readonly kernel: string;
  /** The layer it belongs to. */
  readonly label: string;
  /** Names of the ops that were fused into it. */
  readonly parts: readonly string[];
  readonly reads: readonly Tensor[];
  readonly writes: readonly Tensor[];
  /** Where they lie, as the kernel takes them: what is overwritten comes once. */
  readonly operands: readonly Place[];
  readonly params: readonly number[];
  readonly multiplyAdds: number;
}

/** A graph made flat: what runs, and where every byte lies. */
export interface FlatProgram {
  readonly records: readonly ProgramRecord[];
  readonly inputs: ReadonlyMap<string, { readonly tensor: Tensor; readonly place: Place }>;
  readonly outputs: ReadonlyMap<string, { readonly tensor: Tensor; readonly place: Place }>;
  readonly scratchFloats: number;
}

/** The memory a tensor lies in: its own, or part of another tensor's. */
interface Home {
  readonly root: Tensor;
  readonly offset: number;
}

type OpNode = Node & { readonly op: Op };

/** Places of variables one after the other, by name; no two share a cache line. */
export function placeVariables(variables: Iterable<Variable>): {
  readonly places: Map<string, Place>;
  readonly floats: number;
} {
  const places = new Map<string, Place>();
  let floats = 0;
  for (const { name, shape } of variables) {
    places.set(name, { offset: floats, floats: sizeOf(shape) });
    floats += Math.ceil(sizeOf(shape) / LINE) * LINE;
  }
  return { places, floats };
}

/**
 * @param variables places of the variables, by name.
 * @param variableFloats where scratch begins.
 */
export function lower(
  graph: Graph,
  variables: ReadonlyMap<string, Place>,
  variableFloats: number,
): FlatProgram {
  const order = schedule(graph);
  const homes = assignHomes(graph, order);
  const scratch = order.filter(
    (x) => homes.get(x)!.root === x && x.source.kind !== "variable" && sizeOf(x.shape) > 0,
  );
  const lifetimes = lifetimesOf(graph, order, homes);
  const plan = planMemory(scratch.map((x) => lifetimes.get(x)!));
  const starts = new Map(scratch.map((x, k) => [x, variableFloats + plan.offsets[k]]));
  const place = (x: Tensor): Place => {
    const { root, offset } = homes.get(x)!;
    const start =
      root.source.kind === "variable" ? variables.get(root.source.variable.name)?.offset : starts.get(root);
    if (start === undefined) throw new Error(`${root.label} has no place in the arena`);
    return { offset: start + offset, floats: sizeOf(x.shape) };
  };
  const placed = (tensors: Iterable<[string, Tensor]>) =>
    new Map([...tensors].map(([name, tensor]) => [name, { tensor, place: place(tensor) }]));
  const along = new Map<Tensor, Tensor[]>();
  for (const x of order) {
    const producer = producerOf(x);
    if (producer) along.set(producer, [...(along.get(producer) ?? []), x]);
  }
  // the kernel's operands are in its own order, whatever the schedule's
  for (const results of along.values()) results.sort((a, b) => placeAlong(a) - placeAlong(b));
  return {
    records: order.flatMap((x) => recordOf(x, along.get(x) ?? [], place)),
    inputs: placed(inputsOf(order)),
    outputs: placed(Object.entries(graph.outputs)),
    scratchFloats: plan.total,
  };
}

function recordOf(x: Tensor, along: readonly Tensor[], place: (x: Tensor) => Place): ProgramRecord[] {
  const node = nodeOf(x);
  if (!node) return [];
  const call = node.op.native(node);
  if (!("kernel" in call)) return [];
  const { op, inputs } = node;
  return [
    {
      kernel: call.kernel,
      label: layerOf(x),
      parts: op.parts?.(node) ?? [],
      reads: inputs,
      writes: op.writes ? op.writes.map((k) => inputs[k]) : [x, ...along],
      operands: (op.writes ? inputs : [...inputs, x, ...along]).map(place),
      params: call.params,
      multiplyAdds: op.multiplyAdds?.(node) ?? 0,
    },
  ];
}

/** The label of a tensor; without one, the layer of the parameters it is made with or of what it is made from. */
function layerOf(x: Tensor): string {
  if (x.label) return x.label;
  const inputs = nodeOf(x)?.inputs ?? [];
  const parameter = inputs.find((input) => input.source.kind === "variable");
  if (parameter) return parameter.label.replace(/\.\w+$/, "");
  return inputs.length > 0 ? layerOf(inputs[0]) : "";
}

/** Where a tensor stands among those that are computed along with the same one. */
function placeAlong(x: Tensor): number {
  const node = nodeOf(x);
  const call = node?.op.native(node);
  return call && "along" in call ? (call.place ?? 0) : 0;
}

/** The tensor whose record computes this one along with it. */
function producerOf(x: Tensor): Tensor | undefined {
  const node = nodeOf(x);
  const call = node?.op.native(node);
  return call && "along" in call ? node?.inputs[call.along] : undefined;
}

/** What is read at a tensor's own place in the order: what is computed along with another was read there. */
const read = (x: Tensor): readonly Tensor[] => (producerOf(x) ? [] : (nodeOf(x)?.inputs ?? []));

/** Views share the memory of what they look at; an op may work in place when its input is not needed afterwards. */
function assignHomes(graph: Graph, order: readonly Tensor[]): Map<Tensor, Home> {
  const homes = new Map<Tensor, Home>();
  const kept = new Set(Object.values(graph.outputs).map((x) => x));
  const uses = lastUses(order, read);
  const lastOfRoot = new Map<Tensor, number>();
  order.forEach((x) => {
    const home = viewed(x, homes) ?? { root: x, offset: 0 };
    homes.set(x, home);
    const last = kept.has(x) ? Number.POSITIVE_INFINITY : (uses.get(x) ?? -1);
    lastOfRoot.set(home.root, Math.max(lastOfRoot.get(home.root) ?? -1, last));
  });
  const merged = new Map<Tensor, Tensor>();
  const resolve = (root: Tensor): Tensor => {
    const into = merged.get(root);
    return into ? resolve(into) : root;
  };
  const positions = new Map(order.map((x, position) => [x, position]));
  order.forEach((x) => {
    const node = nodeOf(x);
    const position = positions.get(producerOf(x) ?? x);
    if (!node?.op.inPlace || homes.get(x)!.root !== x) return;
    const { inPlace } = node.op;
    const places = typeof inPlace === "function" ? inPlace(node) : inPlace;
    for (const source of places.flatMap((k) => node.inputs[k] ?? [])) {
      const root = resolve(homes.get(source)!.root);
      const free = root.source.kind === "op" && lastOfRoot.get(root) === position;
      const same = source.layout === x.layout && sameShape(source.shape, x.shape);
      if (!free || !same || sizeOf(root.shape) !== sizeOf(x.shape)) continue;
      merged.set(x, root);
      lastOfRoot.set(root, lastOfRoot.get(x)!);
      return;
    }
  });
  for (const [x, { root, offset }] of homes) homes.set(x, { root: resolve(root), offset });
  return homes;
}

function viewed(x: Tensor, homes: ReadonlyMap<Tensor, Home>): Home | undefined {
  const node: OpNode | undefined = nodeOf(x);
  if (!node || node.op.writes) return undefined;
  const call = node.op.native(node);
  if (!("alias" in call)) return undefined;
  const { root, offset } = homes.get(node.inputs[0])!;
  return { root, offset: offset + call.alias };
}

function lifetimesOf(
  graph: Graph,
  order: readonly Tensor[],
  homes: ReadonlyMap<Tensor, Home>,
): Map<Tensor, Lifetime> {
  const uses = lastUses(order, read);
  const kept = new Set(Object.values(graph.outputs));
  const lifetimes = new Map<Tensor, { floats: number; first: number; last: number }>();
  const positions = new Map(order.map((x, position) => [x, position]));
  order.forEach((x, position) => {
    const { root } = homes.get(x)!;
    // inputs are written before the first record
    const first = x.source.kind === "input" ? -1 : positions.get(producerOf(x) ?? x)!;
    const last = kept.has(x) ? order.length : (uses.get(x) ?? position);
    const known = lifetimes.get(root);
    if (!known) lifetimes.set(root, { floats: sizeOf(root.shape), first, last });
    else {
      known.first = Math.min(known.first, first);
      known.last = Math.max(known.last, last);
    }
  });
  return lifetimes;
}

/** The program as the addon reads it. @throws Error for a kernel the addon lacks. */
export function encode(program: FlatProgram, kernels: readonly string[]): Float64Array {
  const indices = new Map(kernels.map((name, index) => [name, index]));
  return Float64Array.from(
    program.records.flatMap(({ kernel, operands, params }) => {
      const index = indices.get(kernel);
      if (index === undefined) throw new Error(`the native engine has no kernel ${kernel}`);
      const places = operands.flatMap(({ offset, floats }) => [offset, floats]);
      return [index, operands.length, ...places, params.length, ...params];
    }),
  );
}
