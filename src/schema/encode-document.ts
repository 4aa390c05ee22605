// A document of the source as the log keeps it: id, canonical protobuf, scopes and the right it may grant.
// One scratch writer serves all calls (they never overlap), which spares an allocation per document.
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { Document } from "bson";
import { invariant } from "../model/invariant.ts";
import type { Collection, Field } from "./collection.ts";
import { bodyWriter, fieldWriter } from "./message-codec.ts";
import { recordIdOf } from "./record-id.ts";
import { type Membership, membershipOf, scopesOf } from "./scopes.ts";
import type { FieldShape, ValueShape } from "./shape.ts";
import { OversizeDocument, UnfitDocument } from "./unfit-document.ts";
import { valueCodec, type WriteBody } from "./value-codec.ts";

/** A log entry must fit into MongoDB's 16 MiB with all that is beside the record. */
const RECORD_BYTES_MAX = 15_000_000;

/** A scratch buffer grown beyond this is given back. */
const SCRATCH_BYTES_MAX = 1024 * 1024;

export interface EncodedRecord {
  readonly recordId: string;
  /**
   * `id` and all visible fields in number order, defaults omitted, maps sorted: equal decoded values have equal bytes
   * and the other way round. Hidden fields are not in it.
   */
  readonly bytes: Uint8Array;
  /** Sorted, each once. */
  readonly scopes: readonly string[];
  readonly membership: Membership | undefined;
}

/**
 * @param document as read with `sourceReadOptions`; keys nobody declared are passed over.
 * @throws UnfitDocument where a value doesn't fit its field, without stating the value.
 */
export function encodeDocument(collection: Collection, document: Document): EncodedRecord {
  const recordId = recordIdOf(collection, document._id);
  if (recordId === undefined) throw unfitId(collection, document._id);
  return {
    recordId,
    bytes: encode(bodyWriter(collection.shape), document),
    scopes: scopesOf(collection, document),
    membership: collection.grant && membershipOf(collection.grant, document),
  };
}

/** Canonical bytes of one field of a document, hidden or not; empty if it is absent or at its default. @throws UnfitDocument */
export function encodeField(collection: Collection, field: Field, document: Document): Uint8Array {
  invariant(collection.fieldsByNumber.get(field.number) === field, "the field is the collection's");
  return encodeShape(field.shape, document);
}

/** As `encodeField`, for a field at any depth. @throws UnfitDocument */
export function encodeShape(field: FieldShape, document: Document): Uint8Array {
  return encode(fieldWriter(field), document);
}

/** Canonical bytes of a value by itself, without a tag. @throws UnfitDocument */
export function encodeValue(shape: ValueShape, value: unknown): Uint8Array {
  const codec = valueCodec(shape, bodyWriter);
  return encode((writer) => codec.write(writer, value, 1), {});
}

/** Says in which way the `_id` doesn't fit. */
function unfitId({ idShape }: Collection, key: unknown): UnfitDocument {
  try {
    if ("leaf" in idShape.value) idShape.value.leaf.read(key);
  } catch (error) {
    if (error instanceof UnfitDocument) return error.under("_id");
    throw error;
  }
  return new UnfitDocument("an id must not be empty or longer than 1024 bytes").under("_id");
}

let scratch = new BinaryWriter();

function encode(write: WriteBody, document: Document): Uint8Array {
  const writer = scratch;
  try {
    write(writer, document, 1);
  } catch (error) {
    scratch = new BinaryWriter();
    throw error;
  }
  const bytes = writer.finish();
  if (bytes.length > SCRATCH_BYTES_MAX) scratch = new BinaryWriter();
  if (bytes.length > RECORD_BYTES_MAX) throw new OversizeDocument(RECORD_BYTES_MAX);
  return bytes;
}
