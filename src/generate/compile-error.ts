// CompileError: what is wrong with a team's schema before its rules are even read; all faults at once.

/** One fault. Line and column count from 1; 0: the fault is the whole file's. */
export interface CompileFault {
  /** The team's own path. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** The schema doesn't compile. The message lists every fault, one per line. */
export class CompileError extends Error {
  override readonly name = "CompileError";
  readonly faults: readonly CompileFault[];

  constructor(faults: readonly CompileFault[]) {
    super(faults.map(describe).join("\n"));
    this.faults = faults;
  }

  /** A fault of a whole file or folder. */
  static of(file: string, message: string): CompileError {
    return new CompileError([{ file, line: 0, column: 0, message }]);
  }
}

function describe({ file, line, column, message }: CompileFault): string {
  return line === 0 ? `${file}: ${message}` : `${file}:${line}:${column}: ${message}`;
}
