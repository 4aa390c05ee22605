// `tidemark pull`: follows a server and prints what changes, as a client of the contract like any other: it keeps
// the cursor, resumes after every break and obeys Closed.
import { setTimeout } from "node:timers/promises";
import { create, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Change, ChangeSchema } from "#gen/tidemark/v1/change_pb.js";
import { type Cursor, CursorSchema } from "#gen/tidemark/v1/cursor_pb.js";
import { ClosedReason } from "#gen/tidemark/v1/frame_pb.js";
import {
  type PullChangesRequestSchema,
  type PullChangesResponse,
  PullChangesResponseSchema,
  PullMode,
} from "#gen/tidemark/v1/pull_changes_pb.js";
import { RecordSchema } from "#gen/tidemark/v1/record_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { packageVersion } from "../settings/package.ts";
import { type Arguments, type Command, type Terminal, textOption, UsageError } from "./command.ts";
import { PullPrinter } from "./pull-printer.ts";
import { type RecordReader, readServerTypes } from "./server-types.ts";

const HELP = `Usage: tidemark pull [collection…] [--url URL] [--token TOKEN] [--catch-up] [--all] [--json]

Prints every change as it commits; without collections, all you may see.
While catching up on more than 50 records it draws a progress bar instead of the records; then it says how many
changes of which collection came. It catches up when it connects, and whenever what you may see changes.

  --url URL       the server (default http://localhost:8080)
  --token TOKEN   your access token (default: TIDEMARK_TOKEN, else dev-ana)
  --catch-up      end when everything is delivered
  --all           print the records of the catch-up, too
  --json          one JSON object a line: changes, and the other frames
`;

export const pullCommand: Command = {
  help: HELP,
  options: {
    url: { type: "string" },
    token: { type: "string" },
    "catch-up": { type: "boolean" },
    all: { type: "boolean" },
    json: { type: "boolean" },
  },
  run: pull,
};

const CLIENT = `cli/${packageVersion()}`;
const RETRY_MS_MAX = 10_000;
const RETRYABLE = new Set([
  Code.Unavailable,
  Code.Aborted,
  Code.ResourceExhausted,
  Code.Internal,
  Code.Unknown,
]);

/** What frames and notes are handed to. */
interface Printer {
  /** A stream begins. */
  connects(): void;
  frame(frame: PullChangesResponse): void;
  note(text: string): void;
}

interface Pulling {
  readonly transport: Transport;
  readonly request: MessageInitShape<typeof PullChangesRequestSchema>;
  readonly token: string;
  readonly printerFor: (read: RecordReader) => Printer;
  readonly terminal: Terminal;
  printer: Printer | undefined;
  cursor: Cursor | undefined;
  /** How often in a row a stream broke without a frame. */
  failures: number;
}

async function pull(args: Arguments, terminal: Terminal): Promise<void> {
  const url = textOption(args, "url", "http://localhost:8080");
  if (!URL.canParse(url)) throw new UsageError(`--url: "${url}" is not a URL`);
  const showAll = args.values["all"] === true;
  const pulling: Pulling = {
    transport: createGrpcTransport({ baseUrl: url }),
    request: {
      selections: args.positionals.map((collection) => ({ collection })),
      mode: args.values["catch-up"] ? PullMode.CATCH_UP : PullMode.FOLLOW,
    },
    token: textOption(args, "token", terminal.env["TIDEMARK_TOKEN"] ?? "dev-ana"),
    printerFor: (read) =>
      args.values["json"] ? jsonPrinter(terminal, read) : new PullPrinter(terminal, { url, showAll, read }),
    terminal,
    printer: undefined,
    cursor: undefined,
    failures: 0,
  };
  while (!terminal.signal.aborted) {
    try {
      if (await follow(pulling)) return;
    } catch (error) {
      if (terminal.signal.aborted) return;
      const failure = ConnectError.from(error);
      if (!RETRYABLE.has(failure.code)) throw new Error(failure.rawMessage, { cause: error });
      terminal.err.write(`· ${failure.rawMessage}; trying again\n`);
    }
    await waitBeforeRetry(pulling);
  }
}

/** Follows one stream to its end; true: everything asked for is delivered. */
async function follow(pulling: Pulling): Promise<boolean> {
  const { transport, request, token, terminal } = pulling;
  pulling.printer ??= pulling.printerFor(await readServerTypes(transport, terminal.signal));
  pulling.printer.connects();
  const stream = createClient(SyncService, transport).pullChanges(
    { ...request, ...(pulling.cursor ? { cursor: pulling.cursor } : {}) },
    { headers: { authorization: `Bearer ${token}`, "tidemark-client": CLIENT }, signal: terminal.signal },
  );
  for await (const frame of stream) {
    pulling.failures = 0;
    pulling.cursor = nextCursor(pulling.cursor, frame);
    pulling.printer.frame(frame);
    if (frame.frame.case === "closed" && frame.frame.value.reason === ClosedReason.CAUGHT_UP) return true;
  }
  return false;
}

/** The cursor after a frame, as the contract says: opened replaces it, batch and checkpoint move it. */
function nextCursor(cursor: Cursor | undefined, { frame }: PullChangesResponse): Cursor | undefined {
  if (frame.case === "opened") return frame.value.cursor;
  if (frame.case === "reset") return undefined;
  if (!cursor) return cursor;
  if (frame.case === "batch") return create(CursorSchema, { ...cursor, position: frame.value.position });
  if (frame.case !== "checkpoint") return cursor;
  return create(CursorSchema, {
    ...cursor,
    position: frame.value.position,
    checkpoint: frame.value.position,
  });
}

async function waitBeforeRetry(pulling: Pulling): Promise<void> {
  const ms = Math.min(RETRY_MS_MAX, 250 * 2 ** pulling.failures++);
  // An abort ends the wait; the loop sees it.
  await setTimeout(ms, undefined, { signal: pulling.terminal.signal }).catch(() => {});
}

function jsonPrinter({ out, err }: Terminal, read: RecordReader): Printer {
  return {
    connects: () => {},
    frame: (response) => void out.write(jsonLines(response, read)),
    note: (text) => void err.write(`${text}\n`),
  };
}

function jsonLines({ frame, ...rest }: PullChangesResponse, read: RecordReader): string {
  if (frame.case !== "batch")
    return `${JSON.stringify(toJson(PullChangesResponseSchema, { frame, ...rest }))}\n`;
  return frame.value.changes.map((change) => `${JSON.stringify(changeJson(change, read))}\n`).join("");
}

/** The change in JSON form, its record readable. */
function changeJson(change: Change, read: RecordReader): JsonValue {
  const { kind } = change;
  const record = kind.case === "put" ? read(change.collection, kind.value) : undefined;
  if (kind.case !== "put" || !record) return toJson(ChangeSchema, change);
  const put = { ...kind.value, record: create(RecordSchema, { form: { case: "json", value: record } }) };
  return toJson(ChangeSchema, { ...change, kind: { case: "put", value: put } });
}
