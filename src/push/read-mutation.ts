// Reads a mutation by the schema: which document it means, and what it asks for. Fails only where there is nothing to
// look up in the ledger by: an unknown collection, an id or a record that doesn't fit. A HIDDEN field is unknown here,
// in both forms and in every message.
import type { Mutation, MutationKind } from "../model/mutation.ts";
import type { RecordForm } from "../model/record-form.ts";
import type { SourceKey } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { documentOf } from "../schema/document-of.ts";
import { MisfitRecord, type PushedRecord, readPushed } from "../schema/pushed-record.ts";
import { keyOf, recordIdOf } from "../schema/record-id.ts";
import type { Schema } from "../schema/schema.ts";
import { contentHash } from "./content-hash.ts";
import type { Intent } from "./intent.ts";
import { Refused } from "./refused.ts";

/** A mutation as the schema understands it. */
export interface ReadMutation {
  readonly mutation: Mutation;
  readonly collection: Collection;
  /** Of the document. */
  readonly key: SourceKey;
  /** Canonical. */
  readonly recordId: string;
  readonly intent: Intent;
  readonly hash: Uint8Array;
}

/** @throws Refused UNKNOWN_COLLECTION or INVALID. */
export function readMutation(schema: Schema, mutation: Mutation): ReadMutation {
  const collection = schema.collections.get(mutation.collection);
  if (collection === undefined) {
    throw new Refused("UNKNOWN_COLLECTION", `the schema has no collection "${mutation.collection}"`);
  }
  const key = keyOf(collection, mutation.recordId);
  const recordId = key === undefined ? undefined : recordIdOf(collection, key);
  if (key === undefined || recordId === undefined) {
    throw invalid("record_id", "record_id.type", `not an id of the collection "${collection.name}"`);
  }
  const intent = readIntent(collection, recordId, mutation.kind);
  // Ids are strings, numbers, ObjectIds or UUIDs: whatever the schema makes of one.
  return {
    mutation,
    collection,
    key: key as SourceKey,
    recordId,
    intent,
    hash: contentHash(mutation, collection, recordId, intent),
  };
}

function readIntent(collection: Collection, recordId: string, kind: MutationKind): Intent {
  const read = (record: RecordForm, path: string) => readRecord({ collection, recordId, record, path });
  switch (kind.case) {
    case "create": {
      const { message, fields: values } = read(kind.record, "create.record");
      const fields = collection.fields.filter(({ number }) => (values.get(number)?.length ?? 0) > 0);
      return { kind: "create", fields, values, document: documentOf(collection, message) };
    }
    case "update": {
      const pushed = read(kind.record, "update.record");
      const base = kind.base && read(kind.base, "update.base").fields;
      const fields = fieldsNamed(collection, kind, pushed);
      return { kind: "update", fields, message: pushed.message, values: pushed.fields, base };
    }
    case "delete": {
      const base = kind.base && read(kind.base, "delete.base").fields;
      return { kind: "delete", fields: [], base };
    }
  }
}

interface RecordToRead {
  readonly collection: Collection;
  readonly recordId: string;
  readonly record: RecordForm;
  /** Where it lies in the mutation. */
  readonly path: string;
}

function readRecord({ collection, recordId, record, path }: RecordToRead): PushedRecord {
  const pushed = readFitting(collection, record);
  const id: unknown = Reflect.get(pushed.message, collection.idShape.desc.localName);
  if (typeof id === "string" && id !== "") {
    const key = keyOf(collection, id);
    if (key === undefined || recordIdOf(collection, key) !== recordId) {
      throw invalid(`${path}.id`, "record.id", "must be empty or equal to record_id");
    }
  }
  return pushed;
}

function readFitting(collection: Collection, record: RecordForm): PushedRecord {
  try {
    return readPushed(collection, record);
  } catch (error) {
    throw error instanceof MisfitRecord ? misfit(collection, error) : error;
  }
}

function misfit(collection: Collection, cause: MisfitRecord): Refused {
  const description = `the record doesn't fit the collection "${collection.name}"`;
  return new Refused("INVALID", description, { violations: cause.violations, cause });
}

function fieldsNamed(
  collection: Collection,
  { record, changed }: Extract<MutationKind, { case: "update" }>,
  pushed: PushedRecord,
): Field[] {
  const idNumber = collection.idShape.number;
  if (record.form === "JSON") {
    if (changed.length > 0) {
      throw invalid(
        "update.changed",
        "changed.json",
        "stays empty in JSON form: the keys present are the changed fields",
      );
    }
    return fieldsOf(
      collection,
      pushed.keys.filter((number) => number !== idNumber),
    );
  }
  if (changed.includes(idNumber)) throw invalid("update.changed", "changed.id", "a record's id can't change");
  return fieldsOf(collection, changed);
}

function fieldsOf(collection: Collection, numbers: readonly number[]): Field[] {
  const named = new Set(numbers);
  for (const number of named) {
    const field = collection.fieldsByNumber.get(number);
    if (field === undefined || field.access === "HIDDEN") {
      throw invalid(
        "update.changed",
        "changed.unknown",
        `the collection "${collection.name}" has no field ${number}`,
      );
    }
  }
  return collection.fields.filter(({ number }) => named.has(number));
}

function invalid(path: string, ruleId: string, message: string): Refused {
  return new Refused("INVALID", `${path}: ${message}`, {
    violations: [{ path, ruleId, message }],
  });
}
