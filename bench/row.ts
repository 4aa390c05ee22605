// What a row of the bench is: a figure, the reference measured beside it in the same run, and the goal for their ratio.
import type { Bench } from "./bench.ts";

export interface Measured {
  /** What was measured, in words: `catch-up over gRPC, 100,000 × 300 B`. */
  readonly row: string;
  readonly unit: "docs/s" | "ms";
  readonly value: number;
  /** What it is compared with, measured in the same run. */
  readonly reference: number;
  readonly referenceName: string;
  /** value ÷ reference. */
  readonly ratio: number;
  /** `≥ 0.5` or `≤ 10`; absent: told, not judged. */
  readonly goal?: string;
  readonly met?: boolean;
}

export interface Row {
  readonly name: string;
  run(bench: Bench): Promise<Measured[]>;
}

interface Figures {
  readonly row: string;
  readonly unit: Measured["unit"];
  readonly value: number;
  readonly reference: number;
  readonly referenceName: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export function measured({ atLeast, atMost, ...figures }: Figures): Measured {
  const ratio = figures.value / figures.reference;
  if (atLeast !== undefined) return { ...figures, ratio, goal: `≥ ${atLeast}`, met: ratio >= atLeast };
  if (atMost !== undefined) return { ...figures, ratio, goal: `≤ ${atMost}`, met: ratio <= atMost };
  return { ...figures, ratio };
}

/** The value below which a share `p` of the samples lies. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}
