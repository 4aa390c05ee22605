// Prints the frames of a pull for human eyes: a bar while catching up on much, then a line per change. A catch-up
// begins with a connection, with a reset, or with a change of what its caller may see; it ends with a checkpoint that
// says what of which collection it brought.
import type { Change } from "#gen/tidemark/v1/change_pb.js";
import { type Opened, UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { changeLine } from "./change-line.ts";
import type { Terminal } from "./command.ts";
import { plainText } from "./plain-text.ts";
import { grouped, progressLine, redraw } from "./progress-bar.ts";
import type { RecordReader } from "./server-types.ts";
import { countChange, type Tally, tallyText } from "./tally.ts";

/** Up to this many records a catch-up is worth reading. */
const CATCH_UP_SHOWN_MAX = 50n;
const REDRAW_MS = 100;

export interface PrinterOptions {
  readonly url: string;
  readonly showAll: boolean;
  readonly read: RecordReader;
}

interface CatchUp {
  total: number;
  done: number;
  readonly tally: Tally;
  readonly startedMs: number;
  drawnMs: number;
  /** Change by change, instead of a bar. */
  isShown: boolean;
  /** What it leaves out, as told. */
  readonly leftOut: Set<string>;
}

export class PullPrinter {
  readonly #terminal: Terminal;
  readonly #options: PrinterOptions;
  /** What the next catch-up is due to. */
  #cause = "";
  #catchUp: CatchUp | undefined;

  constructor(terminal: Terminal, options: PrinterOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  /** A stream begins, maybe after one that broke off. */
  connects(): void {
    this.#cause = `connected to ${this.#options.url}`;
    this.#catchUp = undefined;
  }

  frame({ frame }: PullChangesResponse): void {
    switch (frame.case) {
      case "opened":
        this.#opened(frame.value);
        break;
      case "batch":
        this.#changed(frame.value.changes);
        break;
      case "checkpoint":
        this.#caughtUp();
        break;
      case "reset":
        this.#cause = "the cursor no longer serves; starting over";
        this.#catchUp = undefined;
        break;
      default:
        break;
    }
  }

  /** Something about the connection rather than the data. */
  note(text: string): void {
    this.#terminal.err.write(`${this.#terminal.isScreen ? redraw("") : ""}· ${plainText(text)}\n`);
  }

  #opened({ backlog, unavailable }: Opened): void {
    const isShown = this.#options.showAll || backlog <= CATCH_UP_SHOWN_MAX;
    this.#catchUp ??= this.#begin(backlog);
    this.#catchUp.isShown &&= isShown;
    this.#catchUp.total = this.#catchUp.done + Number(backlog);
    for (const { collection, recordId, reason } of unavailable) {
      const text = `${recordId ? `${collection}/${recordId}` : collection}: ${unavailableWord(reason)}`;
      if (!this.#catchUp.leftOut.has(text)) this.note(text);
      this.#catchUp.leftOut.add(text);
    }
  }

  #begin(backlog: bigint): CatchUp {
    const changes = backlog === 1n ? "change" : "changes";
    this.note(`${this.#cause}; up to ${grouped(backlog)} ${changes} to catch up on`);
    this.#cause = "what you may see has changed";
    const startedMs = Date.now();
    return { total: 0, done: 0, tally: new Map(), startedMs, drawnMs: 0, isShown: true, leftOut: new Set() };
  }

  #changed(changes: readonly Change[]): void {
    const catchUp = this.#catchUp;
    for (const change of changes) {
      const isNew = !catchUp || countChange(catchUp.tally, change);
      if (isNew && (!catchUp || catchUp.isShown)) this.#line(changeLine(change, this.#options.read));
    }
    if (catchUp) this.#progress(catchUp, changes.length);
  }

  #progress(catchUp: CatchUp, count: number): void {
    catchUp.done += count;
    const nowMs = Date.now();
    if (catchUp.isShown || !this.#terminal.isScreen || nowMs - catchUp.drawnMs < REDRAW_MS) return;
    catchUp.drawnMs = nowMs;
    const { done, total, startedMs } = catchUp;
    this.#terminal.err.write(redraw(progressLine({ done, total, elapsedMs: nowMs - startedMs })));
  }

  #caughtUp(): void {
    const catchUp = this.#catchUp;
    if (!catchUp) return;
    this.#catchUp = undefined;
    const seconds = ((Date.now() - catchUp.startedMs) / 1000).toFixed(1);
    this.note(`caught up in ${seconds} s: ${tallyText(catchUp.tally)}`);
  }

  #line(text: string): void {
    this.#terminal.out.write(`${text}\n`);
  }
}

function unavailableWord(reason: UnavailableReason): string {
  switch (reason) {
    case UnavailableReason.UNKNOWN_COLLECTION:
      return "the server's schema has no such collection";
    case UnavailableReason.FORBIDDEN:
      return "you hold no scope of it";
    case UnavailableReason.RECORD_TOO_LARGE:
      return "too large for JSON form";
    case UnavailableReason.UNSPECIFIED:
      return "not available";
  }
}
