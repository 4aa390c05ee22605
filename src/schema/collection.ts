// What the rest of the server knows of a collection: its message, its fields and the rules the schema gives them.
// Made by readSchema alone; readonly, and safe to share.
import type { DescField, DescMessage, Message, Registry } from "@bufbuild/protobuf";
import type { Access } from "../model/principal.ts";
import type { Violation } from "../model/sync-error.ts";
import type { FieldShape, MessageShape } from "./shape.ts";
import type { Template } from "./template.ts";

/** What decides when both sides changed a field. */
export type Merge = "LAST_WRITER" | "SERVER_WINS" | "REJECT" | "COUNTER" | "MAX" | "MIN" | "SET";

/** What decides between a delete and a concurrent edit. */
export type Deletes = "DELETE_WINS" | "EDIT_WINS" | "REJECT";

export type FieldAccess = "READ_WRITE" | "READ_ONLY" | "HIDDEN";

export type Stamp = "CREATED_AT" | "WRITTEN_AT";

/** A top-level field of a record. */
export interface Field {
  readonly number: number;
  /** The proto name. */
  readonly name: string;
  /** The key in the document. */
  readonly key: string;
  /** Of `Collection.message`; a HIDDEN field's is of the team's own message, which no client sees. */
  readonly desc: DescField;
  /** The field's own rule, or else the collection's. */
  readonly merge: Merge;
  readonly access: FieldAccess;
  readonly stamp: Stamp | undefined;
  /** Clients may set it. */
  readonly settable: boolean;
  /** The name of its oneof. */
  readonly oneof: string | undefined;
  readonly shape: FieldShape;
}

/** How each record grants a scope to a principal. */
export interface MembershipRule {
  readonly principal: Template<FieldShape>;
  readonly scope: Template<FieldShape>;
  /** The right given, or the field that says it. */
  readonly right: Access | FieldShape;
}

export interface Collection {
  readonly name: string;
  /** The message as clients have it: without hidden fields, nested ones included. */
  readonly message: DescMessage;
  /** False: SERVER_ONLY. */
  readonly writable: boolean;
  readonly merge: Merge;
  readonly deletes: Deletes;
  /** Callers without a token may pull some scope that every record is in. */
  readonly isPublic: boolean;
  /** All declared but `id`, in number order, hidden ones too. */
  readonly fields: readonly Field[];
  readonly fieldsByNumber: ReadonlyMap<number, Field>;
  /** The field `id`. */
  readonly idShape: FieldShape;
  readonly scopes: readonly Template<FieldShape>[];
  readonly grant: MembershipRule | undefined;
  /** Changes exactly when the collection's log entries would: types, keys, hiding, scopes, grant. */
  readonly fingerprint: string;
  readonly shape: MessageShape;
  /** Types for protobuf JSON. */
  readonly registry: Registry;
  /** The team's validation rules; see `validateRecord`. */
  readonly rules: RecordRules;
}

/** Checks a whole record, an instance of `Collection.message`. */
export type RecordRules = (record: Message) => Violation[];
