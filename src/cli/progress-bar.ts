// A one-line progress bar that redraws itself on a screen; pure text, the caller writes it.

export interface Progress {
  readonly done: number;
  /** The expected total; it may prove too low. */
  readonly total: number;
  readonly elapsedMs: number;
}

const WIDTH = 30;

/** `[██████░░░░] 61 %  104,000 of 171,075 · 41,000/s`, without line end. */
export function progressLine({ done, total, elapsedMs }: Progress): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const filled = Math.round(share * WIDTH);
  const bar = "█".repeat(filled) + "░".repeat(WIDTH - filled);
  const rate = elapsedMs > 0 ? Math.round((done / elapsedMs) * 1000) : 0;
  const percent = Math.floor(share * 100);
  return `[${bar}] ${percent} %  ${grouped(done)} of ${grouped(total)} · ${grouped(rate)}/s`;
}

/** 171075 → `171,075`. */
export function grouped(value: number | bigint): string {
  return value.toLocaleString("en-US");
}

/** Replaces the current line of a screen. */
export function redraw(line: string): string {
  return `\r\u001b[2K${line}`;
}
