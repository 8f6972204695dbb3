/** A text of somebody else's as part of one line: no control characters, and not endless. */
export function shorten(text: string, most = 200): string {
  const printable = text.replaceAll(/\p{Cc}+/gu, " ");
  return printable.length > most ? `${printable.slice(0, most - 1)}…` : printable;
}
