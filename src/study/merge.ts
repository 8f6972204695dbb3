export type Table = Readonly<Record<string, unknown>>;

export function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * `base` with what `over` says differently, key by key; lists are replaced. With `named`, a word stands for a table
 * of that name, and a table whose name changes is replaced, since the options of sgd mean nothing to adam.
 */
export function merge(base: Table, over: Table, named = false): Table {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, given] of Object.entries(over)) {
    const [known, value] = named ? unfold(merged[key], given) : [merged[key], given];
    const mergeable = isTable(known) && isTable(value) && !(named && renamed(known, value));
    merged[key] = mergeable ? merge(known, value, named) : given;
  }
  return merged;
}

/** A word beside a table is a table of that name. */
function unfold(known: unknown, value: unknown): [unknown, unknown] {
  if (typeof known === "string" && isTable(value)) return [{ name: known }, value];
  return isTable(known) && typeof value === "string" ? [known, { name: value }] : [known, value];
}

const renamed = (known: Table, value: Table) => "name" in value && value["name"] !== known["name"];
