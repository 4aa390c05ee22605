// Prints the frames of a pull for human eyes: a bar while catching up on much, then a line per change.
import { type Opened, UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { changeLine } from "./change-line.ts";
import type { Terminal } from "./command.ts";
import { grouped, progressLine, redraw } from "./progress-bar.ts";
import type { RecordReader } from "./server-types.ts";

/** Up to this many records a catch-up is worth reading. */
const CATCH_UP_SHOWN_MAX = 50n;
const REDRAW_MS = 100;

export interface PrinterOptions {
  readonly url: string;
  readonly showAll: boolean;
  readonly read: RecordReader;
}

export class PullPrinter {
  readonly #terminal: Terminal;
  readonly #options: PrinterOptions;
  #catchUp: { total: number; done: number; startedMs: number; drawnMs: number; shown: boolean } | undefined;

  constructor(terminal: Terminal, options: PrinterOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  frame({ frame }: PullChangesResponse): void {
    switch (frame.case) {
      case "opened":
        this.#opened(frame.value);
        break;
      case "batch":
        for (const change of frame.value.changes) {
          if (!this.#catchUp || this.#catchUp.shown) this.#line(changeLine(change, this.#options.read));
        }
        this.#progress(frame.value.changes.length);
        break;
      case "checkpoint":
        this.#caughtUp();
        break;
      case "reset":
        this.note("the cursor no longer serves; starting over");
        break;
      default:
        break;
    }
  }

  /** Something about the connection rather than the data. */
  note(text: string): void {
    this.#terminal.err.write(`${this.#terminal.isScreen ? redraw("") : ""}· ${text}\n`);
  }

  #opened(opened: Opened): void {
    for (const { collection, recordId, reason } of opened.unavailable) {
      this.note(`${recordId ? `${collection}/${recordId}` : collection}: ${unavailableWord(reason)}`);
    }
    const shown = this.#options.showAll || opened.backlog <= CATCH_UP_SHOWN_MAX;
    const nowMs = Date.now();
    this.#catchUp = { total: Number(opened.backlog), done: 0, startedMs: nowMs, drawnMs: 0, shown };
    this.note(`connected to ${this.#options.url}, ${grouped(opened.backlog)} changes to catch up on`);
  }

  #progress(count: number): void {
    const catchUp = this.#catchUp;
    if (!catchUp) return;
    catchUp.done += count;
    const nowMs = Date.now();
    if (catchUp.shown || !this.#terminal.isScreen || nowMs - catchUp.drawnMs < REDRAW_MS) return;
    catchUp.drawnMs = nowMs;
    const { done, total, startedMs } = catchUp;
    this.#terminal.err.write(redraw(progressLine({ done, total, elapsedMs: nowMs - startedMs })));
  }

  #caughtUp(): void {
    const catchUp = this.#catchUp;
    if (!catchUp) return;
    this.#catchUp = undefined;
    const seconds = ((Date.now() - catchUp.startedMs) / 1000).toFixed(1);
    this.note(`caught up: ${grouped(catchUp.done)} changes in ${seconds} s`);
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
