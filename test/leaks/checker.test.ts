// The checker on told stories: what each rule allows and what it refuses, and that no way of packing bytes hides a word.
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Document } from "mongodb";
import { describe, expect, test } from "vitest";
import { ChangeSchema, PutSchema, RemoveSchema } from "#gen/tidemark/v1/change_pb.js";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { randomOf } from "../support/random.ts";
import { Book, type Caller, type Exchange } from "./book.ts";
import { enveloped } from "./bytes.ts";
import { makeCanary } from "./canaries.ts";
import { Checker } from "./checker.ts";
import { FOREVER, Truth } from "./truth.ts";

const random = randomOf("checker", "words");
const word = () => makeCanary(random);
const [ID, OLD, NEW, SECRET, CODE, ROW, PROPOSED] = [word(), word(), word(), word(), word(), word(), word()];

const ana: Caller = { principal: "ana", scopes: ["user:ana"], isService: false };
const ben: Caller = { principal: "ben", scopes: ["user:ben"], isService: false };
const service: Caller = { principal: "job", scopes: [], isService: true };

/** A note in team red from 10 on, whose title changes at 20, which is ana's from 40 to 50; ben is in red from 15 to 30. */
function story(): Truth {
  const truth = new Truth();
  const note = (clock: bigint, document: Document | undefined) =>
    truth.note("notes", ID, { document: document && { _id: ID, ...document }, clock });
  const hidden = { secret: SECRET, place: { code: CODE } };
  note(10n, { teamId: "red", title: OLD, ...hidden });
  truth.note("members", ROW, { document: { userId: "ben", teamId: "red", right: "READ" }, clock: 15n });
  note(20n, { teamId: "red", title: NEW, ...hidden });
  truth.note("members", ROW, { document: undefined, clock: 30n });
  note(40n, { ownerId: "ana", title: NEW, ...hidden });
  note(50n, undefined);
  return truth;
}

type Told = Partial<Omit<Exchange, "heads">> & { readonly body: Buffer; readonly heads?: string[] };

/** What the checker says of one answer. */
function leaksOf({ body, heads = [], ...about }: Told, book = emptyBook()): string[] {
  const defaults = { kind: "page", caller: ben, name: "call", codec: "proto", isEnveloped: false } as const;
  const clocks = { floor: 0n, sourceFloor: 0n, born: 0n, ended: FOREVER, scopesSince: [] };
  const exchange: Exchange = { ...defaults, ...clocks, stream: 1, ...about, heads };
  const tap = { received: [frame(0, 1, body)] };
  const { caller } = exchange;
  return new Checker(story(), book).connection({ http: 2, caller, tap, exchanges: [exchange] });
}

function emptyBook(): Book {
  return new Book({ command: () => Promise.reject(new Error("no database here")) });
}

function frame(type: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const REMOVE = { case: "remove" as const, value: create(RemoveSchema) };
const text = (words: string) => Buffer.from(`{"it":"${words}"}`);

describe("pulls", () => {
  test.each<[string, "allowed" | "a leak", Told]>([
    [
      "a value while its record is in a scope of the caller's",
      "allowed",
      { body: text(OLD), floor: 15n, ended: 19n },
    ],
    ["a value before the caller had the scope", "a leak", { body: text(OLD), floor: 10n, ended: 14n }],
    ["a value after the scope was taken away", "a leak", { body: text(NEW), floor: 30n }],
    [
      "a value in a window that ends as the scope is given",
      "allowed",
      { body: text(OLD), floor: 10n, ended: 15n },
    ],
    ["a value that was overwritten before the call", "a leak", { body: text(OLD), floor: 20n, ended: 25n }],
    ["a value of a record that moved to the caller", "allowed", { body: text(NEW), caller: ana, floor: 40n }],
    ["a value of a record that is gone", "a leak", { body: text(NEW), caller: ana, floor: 50n }],
    ["a hidden value to its owner", "a leak", { body: text(SECRET), caller: ana, floor: 40n }],
    ["a hidden value inside a message, to a service", "a leak", { body: text(CODE), caller: service }],
    ["a value to a service", "allowed", { body: text(OLD), caller: service, floor: 60n }],
    ["an id after the scope was taken away", "allowed", { body: text(ID), floor: 30n, born: 16n }],
    ["an id to a cursor younger than the grant", "a leak", { body: text(ID), floor: 35n, born: 31n }],
    [
      "an id to a cursor of before the record came",
      "allowed",
      { body: text(ID), caller: ana, floor: 41n, born: 0n },
    ],
    [
      "an id to a cursor younger than its record's leaving",
      "a leak",
      { body: text(ID), caller: ana, born: 51n },
    ],
  ])("checker: %s → %s", (_, verdict, told) => {
    expect(leaksOf(told).length).toBe(verdict === "allowed" ? 0 : 1);
  });

  const batch = (recordId: string, title: string | undefined) => {
    const record = { form: { case: "proto" as const, value: Buffer.from(title ?? "") } };
    const kind =
      title === undefined ? REMOVE : { case: "put" as const, value: create(PutSchema, { record }) };
    const change = create(ChangeSchema, { collection: "notes", recordId, kind });
    return pulled({ frame: { case: "batch", value: { changes: [change] } } });
  };
  const checkpoint = (commitClock: bigint) =>
    pulled({ frame: { case: "checkpoint", value: { commitClock } } });
  function pulled(response: Parameters<typeof create<typeof PullChangesResponseSchema>>[1]): Buffer {
    return enveloped(toBinary(PullChangesResponseSchema, create(PullChangesResponseSchema, response)));
  }
  const stream = { kind: "stream", isEnveloped: true } as const;

  test("checker: a stream's value between the checkpoints it is true at → allowed", () => {
    const body = Buffer.concat([checkpoint(12n), batch(ID, OLD), checkpoint(18n)]);
    expect(leaksOf({ ...stream, body })).toEqual([]);
  });

  test.each([
    ["before it was true for the caller", [batch(ID, OLD), checkpoint(14n)]],
    ["after a checkpoint at which it no longer was", [checkpoint(30n), batch(ID, NEW)]],
    ["late, with a checkpoint after it", [checkpoint(31n), batch(ID, NEW), checkpoint(45n)]],
  ])("checker: a stream's value %s → a leak, and so is the id that comes with it", (_, frames) => {
    expect(leaksOf({ ...stream, body: Buffer.concat(frames) })).toHaveLength(2);
  });

  test("checker: a remove to a cursor that held its feed → allowed; to one that didn't → a leak", () => {
    const body = Buffer.concat([checkpoint(31n), batch(ID, undefined)]);
    expect(leaksOf({ ...stream, body, born: 16n })).toEqual([]);
    expect(leaksOf({ ...stream, body, born: 31n })).toHaveLength(1);
  });
});

describe("pushes and receipts", () => {
  const named = () => {
    const book = emptyBook();
    book.asks("ben", Buffer.from(`${ID} ${PROPOSED}`));
    book.proposals.set(PROPOSED, { principal: "ben", record: `notes/${ID}`, kind: "value" });
    return book;
  };
  const times = { floor: 32n, sourceFloor: 32n, ended: 45n };
  test.each<[string, "allowed" | "a leak", Told]>([
    ["the id the caller named", "allowed", { kind: "push", body: text(ID) }],
    ["an id another named", "a leak", { kind: "push", caller: ana, body: text(ID) }],
    ["what the caller proposed", "allowed", { kind: "push", body: text(PROPOSED) }],
    [
      "what another proposed and nobody wrote",
      "a leak",
      { kind: "push", caller: ana, ...times, ended: 39n, body: text(PROPOSED) },
    ],
    [
      "the record as it is, by memberships as old as the log",
      "allowed",
      { kind: "push", ...times, floor: 29n, body: text(NEW) },
    ],
    ["the record as it is, to who lost sight of it", "a leak", { kind: "push", ...times, body: text(NEW) }],
    [
      "a kept value, in sight then and now",
      "allowed",
      { kind: "receipts", sourceFloor: 21n, floor: 21n, ended: 25n, body: text(OLD) },
    ],
    ["a kept value, out of sight by now", "a leak", { kind: "receipts", ...times, body: text(OLD) }],
    [
      "a kept value that was never in sight",
      "a leak",
      { kind: "receipts", caller: ana, ...times, sourceFloor: 40n, body: text(OLD) },
    ],
    ["a hidden value, named or not", "a leak", { kind: "receipts", caller: service, body: text(SECRET) }],
    [
      "anything at all in what tells of no record",
      "a leak",
      { kind: "other", caller: service, body: text(NEW) },
    ],
  ])("checker: %s → %s", (_, verdict, told) => {
    expect(leaksOf(told, named()).length).toBe(verdict === "allowed" ? 0 : 1);
  });
});

describe("bytes", () => {
  const half = SECRET.length / 2;
  const pieces = [text(SECRET).subarray(0, half), text(SECRET).subarray(half)];
  const split = pieces.map((piece) => frame(0, 1, piece));
  const envelope = enveloped(gzipSync(text(SECRET)));
  envelope[0] = 1;
  const base64 = Buffer.from(
    JSON.stringify({ proto: text(`${SECRET} ${"-".repeat(9)}`).toString("base64url") }),
  );
  const chunked = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
  const http1 = (head: string, body: Buffer) => ({
    http: 1 as const,
    received: [Buffer.from(`${head}\r\n\r\n`), body],
  });
  const http2 = (...received: Buffer[]) => ({ http: 2 as const, received });

  test.each([
    ["in frames that cut it in two", http2(...split), false],
    [
      "in packets that cut its frame in two",
      http2(Buffer.concat(split).subarray(0, 15), Buffer.concat(split).subarray(15)),
      false,
    ],
    ["compressed as a whole", http2(frame(0, 1, gzipSync(text(SECRET)))), false],
    ["compressed in an envelope", http2(frame(0, 1, envelope)), true],
    ["in base64", http2(frame(0, 1, base64)), false],
    ["on a stream nobody asked for", http2(frame(0, 2, text(SECRET))), false],
    ["in a frame that is no data", http2(frame(7, 0, text(SECRET))), false],
    [
      "in chunks that cut it in two",
      http1("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Buffer.from(`${chunked}0\r\n\r\n`)),
      false,
    ],
    [
      "behind the last chunk",
      http1("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", Buffer.from(`0\r\n\r\n${SECRET}`)),
      false,
    ],
    ["in the head of an answer", http1(`HTTP/1.1 200 OK\r\nx-it: ${SECRET}`, Buffer.alloc(0)), false],
    ["in an answer broken off", http1("HTTP/1.1 200 OK", gzipSync(text(SECRET)).subarray(0, -6)), false],
  ])("checker: a hidden word %s → found", (_, { http, received }, isEnveloped) => {
    const clocks = { floor: 0n, sourceFloor: 0n, born: 0n, ended: FOREVER, scopesSince: [] };
    const about = { kind: "page", caller: service, name: "call", codec: "proto", isEnveloped } as const;
    const exchanges = [{ ...about, ...clocks, stream: 1, heads: [] }];
    const leaks = new Checker(story(), emptyBook()).connection({
      http,
      caller: service,
      tap: { received },
      exchanges,
    });
    expect(leaks).toHaveLength(1);
    expect(leaks[0]).toContain(SECRET);
  });

  test("checker: a hidden word in trailers → found", () => {
    expect(leaksOf({ body: Buffer.alloc(0), heads: [`{"grpc-message":"${SECRET}"}`] })).toHaveLength(1);
  });

  test("checker: values in a log line → found; ids → allowed", () => {
    const checker = new Checker(story(), emptyBook());
    expect(checker.logLine(`{"msg":"${NEW}"}`)).toHaveLength(1);
    expect(checker.logLine(`{"msg":"${SECRET}"}`)).toHaveLength(1);
    expect(checker.logLine(`{"msg":"${ID}"}`)).toEqual([]);
  });
});
