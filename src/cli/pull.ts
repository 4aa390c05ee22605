// `tidemark pull`: follows a server and prints what changes, as a client of the contract like any other: it keeps
// the cursor, resumes after every break and obeys Closed.
import { create, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ChangeSchema } from "#gen/tidemark/v1/change_pb.js";
import { type Cursor, CursorSchema } from "#gen/tidemark/v1/cursor_pb.js";
import { ClosedReason } from "#gen/tidemark/v1/frame_pb.js";
import {
  type PullChangesResponse,
  PullChangesResponseSchema,
  PullMode,
} from "#gen/tidemark/v1/pull_changes_pb.js";
import { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { type Arguments, type Command, type Terminal, textOption, UsageError } from "./command.ts";
import { PullPrinter } from "./pull-printer.ts";

const HELP = `Usage: tidemark pull [collection…] [--url URL] [--token TOKEN] [--catch-up] [--all] [--json]

Prints every change as it commits; without collections, all you may see.
While catching up on more than 50 records it draws a progress bar instead of the records.

  --url URL       the server (default http://localhost:8080)
  --token TOKEN   your access token (default: TIDEMARK_TOKEN, else dev-ana)
  --catch-up      end when everything is delivered
  --all           print the records of the catch-up, too
  --json          one JSON object a line: changes, and the other frames
`;

export const pullCommand: Command = {
  name: "pull",
  summary: "follow a server and print what changes",
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

const RETRY_MS_MAX = 10_000;
const RETRYABLE = new Set([
  Code.Unavailable,
  Code.Aborted,
  Code.ResourceExhausted,
  Code.Internal,
  Code.Unknown,
]);

interface Following {
  cursor: Cursor | undefined;
  /** How often in a row a stream broke without a frame. */
  failures: number;
}

async function pull(args: Arguments, terminal: Terminal): Promise<void> {
  const url = textOption(args, "url", "http://localhost:8080");
  if (!URL.canParse(url)) throw new UsageError(`--url: "${url}" is not a URL`);
  const token = textOption(args, "token", terminal.env["TIDEMARK_TOKEN"] ?? "dev-ana");
  const client = createClient(SyncService, createGrpcTransport({ baseUrl: url }));
  const printer = args.values["json"]
    ? { frame: (frame: PullChangesResponse) => terminal.out.write(jsonLines(frame)), note: () => true }
    : new PullPrinter(terminal, { url, showAll: args.values["all"] === true });
  const following: Following = { cursor: undefined, failures: 0 };
  while (!terminal.signal.aborted) {
    try {
      const stream = client.pullChanges(
        {
          selections: args.positionals.map((collection) => ({ collection })),
          mode: args.values["catch-up"] ? PullMode.CATCH_UP : PullMode.FOLLOW,
          options: { recordForm: RecordForm.JSON },
          ...(following.cursor ? { cursor: following.cursor } : {}),
        },
        {
          headers: { authorization: `Bearer ${token}`, "tidemark-client": "cli/0.1.0" },
          signal: terminal.signal,
        },
      );
      for await (const frame of stream) {
        following.failures = 0;
        following.cursor = nextCursor(following.cursor, frame);
        printer.frame(frame);
        if (frame.frame.case === "closed" && frame.frame.value.reason === ClosedReason.CAUGHT_UP) return;
      }
    } catch (error) {
      if (terminal.signal.aborted) return;
      const failure = ConnectError.from(error);
      if (!RETRYABLE.has(failure.code)) throw new Error(failure.rawMessage, { cause: error });
      printer.note(`${failure.rawMessage}; trying again`);
    }
    await waitBeforeRetry(following, terminal.signal);
  }
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

async function waitBeforeRetry(following: Following, signal: AbortSignal): Promise<void> {
  const ms = Math.min(RETRY_MS_MAX, 250 * 2 ** following.failures++);
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

function jsonLines(response: PullChangesResponse): string {
  if (response.frame.case !== "batch")
    return `${JSON.stringify(toJson(PullChangesResponseSchema, response))}\n`;
  return response.frame.value.changes
    .map((change) => `${JSON.stringify(toJson(ChangeSchema, change))}\n`)
    .join("");
}
