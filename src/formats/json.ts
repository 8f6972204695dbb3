/**
 * The first key that stands twice in one object of a valid JSON text, where JSON.parse would silently let the
 * later one win; undefined when there is none.
 */
export function repeatedKey(json: string): string | undefined {
  const objects: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === "{") objects.push(new Set());
    else if (char === "}") objects.pop();
    else if (char === '"') {
      const begin = at++;
      while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
      if (!followedByColon(json, at + 1)) continue;
      const key = JSON.parse(json.slice(begin, at + 1)) as string;
      const seen = objects[objects.length - 1];
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function followedByColon(json: string, at: number): boolean {
  while (json[at] === " " || json[at] === "\t" || json[at] === "\n" || json[at] === "\r") at++;
  return json[at] === ":";
}
