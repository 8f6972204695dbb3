export interface Column<R> {
  readonly title: string;
  readonly align?: "left" | "right";
  readonly cell: (row: R) => string;
}

/** Columns padded to their widest cell, two spaces between them, a rule under the titles. */
export function textTable<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ cell }) => cell(row))),
  ];
  const widths = columns.map((_, k) => Math.max(...cells.map((line) => displayWidth(line[k]))));
  const lines = cells.map((line) =>
    line
      .map((text, k) => pad(text, widths[k], columns[k].align))
      .join("  ")
      .trimEnd(),
  );
  return [lines[0], widths.map((width) => "─".repeat(width)).join("  "), ...lines.slice(1)].join("\n");
}

/** A GitHub table of the same. */
export function markdownTable<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(columns.map(({ title }) => title)),
    line(columns.map(({ align }) => (align === "right" ? "---:" : "---"))),
    ...rows.map((row) => line(columns.map(({ cell }) => cell(row)))),
  ].join("\n");
}

const displayWidth = (text: string) => [...text].length;

function pad(text: string, width: number, align: Column<never>["align"] = "left"): string {
  const space = " ".repeat(width - displayWidth(text));
  return align === "right" ? space + text : text + space;
}
