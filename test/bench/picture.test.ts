// The bench's table and picture of made-up measurements.
import { expect, it } from "vitest";
import { picture } from "../../bench/picture.ts";
import { measured } from "../../bench/row.ts";
import { markdownTable } from "../../bench/table.ts";

const figures = { unit: "1/s" as const, reference: 100, referenceName: "the <reference>" };
const rows = [
  measured({ ...figures, row: "fast & far", value: 150, atLeast: 1 }),
  measured({ ...figures, row: "slow", value: 20, atLeast: 0.4 }),
  measured({ ...figures, row: "told only", value: 20 }),
  measured({ ...figures, unit: "ms", row: "late", value: 75, valueAtMost: 50 }),
];

it("measured: a ratio or a value against its goal → margin, and whether it is met", () => {
  expect(rows.map(({ margin, met, goal }) => [margin, met, goal])).toEqual([
    [1.5, true, "≥ 1"],
    [0.5, false, "≥ 0.4"],
    [undefined, undefined, undefined],
    [50 / 75, false, "≤ 50 ms"],
  ]);
});

it("table: rows with and without a goal → aligned, units told", () => {
  const lines = markdownTable(rows).split("\n");
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
  expect(lines[2]).toContain("| 150/s ");
  expect(lines[5]).toContain("| 75 ms ");
});

it("picture: judged rows alone, text escaped, met told by words", () => {
  const svg = picture(rows, "2026 <machine>");
  expect(svg).toContain("1 of 3 goals reached");
  expect(svg).toContain("fast &amp; far");
  expect(svg).toContain("2026 &lt;machine&gt;");
  expect(svg).not.toContain("told only");
  expect(svg.match(/✓ met/g)).toHaveLength(1);
  expect(svg.match(/✗ not met/g)).toHaveLength(2);
  expect(svg).not.toContain("NaN");
});
