import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { UserError } from "../tensor/errors.ts";

export type Path = readonly (string | number)[];

/** Something wrong in a file, at a path inside it; `key` points at the key itself instead of its value. */
export interface Problem {
  readonly path: Path;
  readonly message: string;
  readonly key?: boolean;
}

export interface PlacedProblem extends Problem {
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
}

const MOST_TOLD = 20;

/** Mistakes in a YAML file, each with its place. */
export class YamlError extends UserError {
  override name = "YamlError";
  readonly file: string;
  readonly problems: readonly PlacedProblem[];

  /** @param untold how many more there are. */
  constructor(file: string, problems: readonly PlacedProblem[], untold = 0) {
    const lines = problems.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`);
    super([...lines, ...(untold > 0 ? [`${file}: and ${untold} more mistakes`] : [])].join("\n"));
    this.file = file;
    this.problems = problems;
  }
}

/** A YAML document that knows where each of its values stands. */
export class YamlFile {
  readonly name: string;
  readonly value: unknown;
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  /** @throws YamlError where the text is no YAML, or says a key twice. */
  constructor(name: string, text: string) {
    this.name = name;
    this.#document = this.#parse(text);
    // What follows the first error mostly follows from it.
    const [first] = this.#document.errors;
    if (first) {
      const message = first.message.split("\n")[0];
      throw new YamlError(name, [{ path: [], message, ...this.#at(first.pos[0]) }]);
    }
    try {
      this.value = this.#document.toJS();
    } catch (error) {
      throw new YamlError(name, [{ path: [], message: (error as Error).message, line: 1, column: 1 }]);
    }
  }

  #parse(text: string): Document.Parsed {
    try {
      return parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // of the stack
      throw new YamlError(this.name, [{ path: [], message: "is nested too deeply", line: 1, column: 1 }]);
    }
  }

  has(path: Path): boolean {
    return this.#find(path).found === path.length;
  }

  /** The error that tells these problems, in the order of the file. */
  error(problems: readonly Problem[]): YamlError {
    const told = problems.slice(0, MOST_TOLD);
    const placed = told.map((problem) => ({ ...problem, ...this.#at(this.#offset(problem)) }));
    return new YamlError(
      this.name,
      placed.sort((a, b) => a.line - b.line || a.column - b.column),
      problems.length - told.length,
    );
  }

  #offset({ path, key }: Problem): number {
    const { found, keyAt, valueAt } = this.#find(path);
    return (found < path.length || key ? keyAt : valueAt) ?? 0;
  }

  /** Walks as far along the path as the file goes. */
  #find(path: Path): { found: number; keyAt?: number; valueAt?: number } {
    let node = this.#resolve(this.#document.contents);
    let keyAt = node?.range?.[0];
    for (const [found, part] of path.entries()) {
      let next: unknown;
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(part));
        if (!pair) return { found, keyAt, valueAt: node.range?.[0] };
        keyAt = (pair.key as Node).range?.[0];
        next = pair.value ?? pair.key;
      } else if (isSeq(node) && typeof part === "number" && part < node.items.length) {
        next = node.items[part];
        keyAt = (next as Node).range?.[0];
      } else return { found, keyAt, valueAt: node?.range?.[0] };
      const at = (next as Node).range?.[0];
      node = this.#resolve(next as Node);
      if (found === path.length - 1) return { found: path.length, keyAt, valueAt: at };
    }
    return { found: path.length, keyAt, valueAt: node?.range?.[0] };
  }

  #resolve(node: Node | null): Node | null | undefined {
    return isAlias(node) ? node.resolve(this.#document) : node;
  }

  #at(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }
}
