// A logger that keeps its lines, for tests of what operators get to see.
import type { Logger } from "../../src/model/logger.ts";

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: object;
  readonly message: string;
}

export interface KeptLog {
  readonly logger: Logger;
  readonly lines: readonly LogLine[];
  /** The messages of warnings and errors, in order; what callers were denied is no trouble of the server's. */
  troubles(): string[];
}

export function keptLog(): KeptLog {
  const lines: LogLine[] = [];
  const at = (level: LogLine["level"]) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  const logger: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => logger,
  };
  const troubles = () =>
    lines
      .filter(({ level, fields }) => (level === "warn" || level === "error") && !("audit" in fields))
      .map(({ message }) => message);
  return { logger, lines, troubles };
}
