// Figures as people read them.

/** 1/s: so many a second. */
export type Unit = "1/s" | "ms" | "µs" | "B" | "KiB" | "MiB";

export function quantity(value: number, unit: Unit): string {
  if (unit === "1/s") return `${Math.round(value).toLocaleString("en-US")}/s`;
  const digits = value < 100 && !Number.isInteger(value) ? 1 : 0;
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `${value.toLocaleString("en-US", fixed)} ${unit}`;
}
