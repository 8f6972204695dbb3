import { textTable } from "../report/text-table.ts";
import type { ParityCase } from "./case.ts";
import { type CaseReport, passes, type Row } from "./check.ts";

const figure = (value: number) => (value === 0 ? "0" : value.toExponential(1));

/** A row per quantity: largest relative error, tolerance, verdict, and the tensor the error is in. */
export function showReport(at: ParityCase, engine: string, { rows }: CaseReport): string {
  const table = textTable<Row>(
    [
      { title: "quantity", cell: ({ quantity }) => quantity },
      { title: "tensors", align: "right", cell: ({ tensors }) => `${tensors}` },
      { title: "error", align: "right", cell: ({ error }) => figure(error) },
      { title: "tolerance", align: "right", cell: ({ tolerance }) => figure(tolerance) },
      { title: "", cell: (row) => (passes(row) ? "ok" : "BEYOND") },
      { title: "largest in", cell: ({ worst }) => worst },
    ],
    rows,
  );
  return [`${at.name} (${at.folder}) · ${engine}`, table, ""].join("\n");
}

/** The last line: how many comparisons there were, and which failed. */
export function showSummary(
  reports: readonly { readonly title: string; readonly report: CaseReport }[],
): string {
  const beyond = reports.filter(({ report }) => !report.rows.every(passes));
  if (beyond.length === 0) return `${reports.length} of ${reports.length} comparisons within tolerance`;
  const names = beyond.map(({ title }) => title).join(", ");
  return `${beyond.length} of ${reports.length} comparisons beyond tolerance: ${names}`;
}
