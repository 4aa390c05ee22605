// Draws measurements as a Markdown table that also reads well in a terminal.
import { quantity } from "./quantity.ts";
import type { Measured } from "./row.ts";

const HEAD = ["row", "value", "reference", "ratio", "goal", "met"];

export function markdownTable(rows: readonly Measured[]): string {
  const cells = rows.map((row) => [
    row.row,
    quantity(row.value, row.unit),
    `${quantity(row.reference, row.unit)} (${row.referenceName})`,
    row.ratio.toFixed(2),
    row.goal ?? "–",
    row.met === undefined ? "–" : row.met ? "yes" : "**no**",
  ]);
  const widths = HEAD.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(HEAD), line(widths.map((width) => "-".repeat(width))), ...cells.map(line)].join("\n");
}
