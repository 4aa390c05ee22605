// Errors that are answers: they are told to a caller, never looked for in the code, and a stack for each would cost more
// than all the rest of a refusal.

/** Runs what makes such errors. */
export function withoutStack<T>(work: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
