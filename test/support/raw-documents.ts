// Documents no driver would write, but MongoDB takes: made as bytes, and sent over a socket of their own, since every
// driver serializes what it is given.
import { createConnection } from "node:net";
import { BSON, type Document } from "mongodb";
import type { TestDatabase } from "./mongo.ts";

/** A document's bytes with some text in it, of the same length, replaced by other bytes. */
export function withBytes(document: Document, text: string, bytes: readonly number[]): Uint8Array {
  const raw = Buffer.from(BSON.serialize(document));
  const at = raw.indexOf(text);
  if (at < 0 || Buffer.byteLength(text) !== bytes.length) throw new Error(`no ${text} of that length`);
  raw.set(bytes, at);
  return raw;
}

/** The same for the eight bytes of a date. */
export function withDate(document: Document, placeholder: Date, ms: bigint): Uint8Array {
  const raw = Buffer.from(BSON.serialize(document));
  const wanted = Buffer.alloc(8);
  wanted.writeBigInt64LE(BigInt(placeholder.getTime()));
  const at = raw.indexOf(wanted);
  if (at < 0) throw new Error("the placeholder isn't in the document");
  raw.writeBigInt64LE(ms, at);
  return raw;
}

const HEADER_BYTES = 16;
const OP_MSG = 2013;
const BODY = 0;
const SEQUENCE = 1;

/** @throws Error with what the database says. */
export async function insertRaw(
  { uri, sourceDb }: TestDatabase,
  collection: string,
  documents: readonly Uint8Array[],
): Promise<void> {
  const command = { insert: collection, $db: sourceDb, writeConcern: { w: "majority" } };
  const reply = await answer(uri, message(BSON.serialize(command), documents));
  if (reply["n"] !== documents.length) throw new Error(`not inserted: ${JSON.stringify(reply)}`);
}

function message(body: Uint8Array, documents: readonly Uint8Array[]): Buffer {
  const name = Buffer.from("documents\0");
  const sequence = Buffer.concat([name, ...documents]);
  const size = Buffer.alloc(4);
  size.writeInt32LE(4 + sequence.length);
  const flags = Buffer.alloc(4);
  const payload = Buffer.concat([flags, Buffer.of(BODY), body, Buffer.of(SEQUENCE), size, sequence]);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeInt32LE(HEADER_BYTES + payload.length, 0);
  header.writeInt32LE(OP_MSG, 12);
  return Buffer.concat([header, payload]);
}

function answer(uri: string, request: Buffer): Promise<Document> {
  const { hostname, port } = new URL(uri);
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(port), hostname);
    let reply = Buffer.alloc(0);
    socket.once("error", reject);
    socket.on("data", (chunk) => {
      reply = Buffer.concat([reply, chunk]);
      if (reply.length < HEADER_BYTES || reply.length < reply.readInt32LE(0)) return;
      socket.end();
      resolve(BSON.deserialize(reply.subarray(HEADER_BYTES + 5)));
    });
    socket.write(request);
  });
}
