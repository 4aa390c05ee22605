// invariant: what must hold unless the server itself is wrong.

/** @throws Error naming the broken assumption. */
export function invariant(condition: unknown, assumption: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${assumption}`);
}
