// The schema of these tests, compiled once per file, and what tests do with it over and over.
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import type { Document } from "bson";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import type { JsonObject, RecordForm } from "../../src/model/record-form.ts";
import type { Collection, Field } from "../../src/schema/collection.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { UnfitDocument } from "../../src/schema/unfit-document.ts";

export const acmeSet: FileDescriptorSet = await compileProtos(join(import.meta.dirname, "protos"));
export const acme: Schema = readSchema(acmeSet);

export function collection(name: string): Collection {
  const found = acme.collections.get(name);
  if (found === undefined) throw new Error(`the test schema has no collection ${name}`);
  return found;
}

export const everything: Collection = collection("everything");

export function field(name: string, of: Collection = everything): Field {
  const found = of.fields.find((each) => each.name === name);
  if (found === undefined) throw new Error(`${of.name} has no field ${name}`);
  return found;
}

/** A document's record as clients see it in JSON, without its id. */
export function seen(document: Document, of: Collection = everything): JsonObject {
  const { id: _, ...json } = recordToJson(of, encodeDocument(of, { _id: "a", ...document }).bytes);
  return json;
}

/** Why a document is unfit; undefined if it isn't. */
export function unfit(document: Document, of: Collection = everything): string | undefined {
  try {
    encodeDocument(of, { _id: "a", ...document });
    return undefined;
  } catch (error) {
    if (error instanceof UnfitDocument) return error.reason;
    throw error;
  }
}

export function bytesOf(document: Document, of: Collection = everything): Uint8Array {
  return encodeDocument(of, { _id: "a", ...document }).bytes;
}

export function messageOf(document: Document, of: Collection = everything) {
  return fromBinary(of.message, bytesOf(document, of));
}

export function json(value: JsonObject): RecordForm {
  return { form: "JSON", json: value };
}
