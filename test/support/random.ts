// Random choices that a seed repeats: each part of a test has a stream of its own, so that concurrency doesn't mix
// them up. TIDEMARK_SEED replays a run.
import { createHash } from "node:crypto";

export interface Random {
  /** A whole number from 0 to n - 1. */
  below(n: number): number;
  of<T>(items: readonly T[]): T;
  uuid(): string;
}

/** The seed of a run: TIDEMARK_SEED, or the run's own number mixed with the time, so that each night tries others. */
export function seedOf(run: number): string {
  return process.env["TIDEMARK_SEED"] ?? `${run}-${Date.now()}`;
}

export function randomOf(seed: string, part: string): Random {
  let count = 0;
  const digest = () => createHash("sha256").update(`${seed}/${part}/${count++}`).digest();
  const below = (n: number) => digest().readUInt32BE(0) % n;
  return {
    below,
    of: <T>(items: readonly T[]): T => {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error("nothing to choose from");
      return item;
    },
    uuid: () => {
      const hex = digest().toString("hex");
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
    },
  };
}
