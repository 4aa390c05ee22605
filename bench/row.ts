// What a row of the bench is: a figure, the reference measured beside it in the same run, and the goal for their ratio.
import type { Bench } from "./bench.ts";
import { quantity, type Unit } from "./quantity.ts";

export interface Measured {
  /** What was measured, in words: `catch-up over gRPC, 100,000 × 300 B`. */
  readonly row: string;
  readonly unit: Unit;
  readonly value: number;
  /** What it is compared with, measured in the same run. */
  readonly reference: number;
  readonly referenceName: string;
  /** value ÷ reference. */
  readonly ratio: number;
  /** `≥ 0.5` or `≤ 10`; absent: told, not judged. */
  readonly goal?: string;
  /** How many times better than the goal; below 1 it isn't reached. */
  readonly margin?: number;
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
  /** For the value itself. */
  readonly valueAtMost?: number;
}

export function measured({ atLeast, atMost, valueAtMost, ...figures }: Figures): Measured {
  const ratio = figures.value / figures.reference;
  if (atLeast !== undefined) return judged(figures, `≥ ${atLeast}`, ratio / atLeast);
  if (atMost !== undefined) return judged(figures, `≤ ${atMost}`, atMost / ratio);
  if (valueAtMost === undefined) return { ...figures, ratio };
  return judged(figures, `≤ ${quantity(valueAtMost, figures.unit)}`, valueAtMost / figures.value);
}

type Told = Omit<Figures, "atLeast" | "atMost" | "valueAtMost">;

function judged(figures: Told, goal: string, margin: number): Measured {
  return { ...figures, ratio: figures.value / figures.reference, goal, margin, met: margin >= 1 };
}

/** The value below which a share `p` of the samples lies. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}
