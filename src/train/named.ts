import { z } from "zod";

type Named = z.ZodObject<{ name: z.ZodLiteral<string> }>;

/**
 * A choice by name: an object with `name` and whatever should differ from the defaults, or the name alone. Every
 * alternative must have defaults for all it needs.
 */
export function byName<const T extends readonly [Named, ...Named[]]>(...alternatives: T) {
  const union = z.discriminatedUnion("name", alternatives);
  const names = alternatives.map((alternative) => alternative.shape.name.value);
  // z.string() keeps this alternative out of what is said about an object
  const short = z.string().pipe(z.enum(names));
  return z.union([union, short.transform((name) => union.parse({ name }))]);
}
