// Reads message descriptors and their field options as shapes, with a fault for everything that has no place in a
// document or breaks a rule. What a fault was found for still gets a shape, so that reading goes on to the next.
import { type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { FieldAccess, field as fieldRules, Stamp } from "#gen/tidemark/v1/schema_pb.js";
import { type BsonType, bsonTypeOf, bsonTypesOfScalar, enumTypes, timestampTypes } from "./bson-type.ts";
import { enumLeaf } from "./enum-leaf.ts";
import { anyLeaf, scalarLeaf } from "./leaf-codec.ts";
import { readFieldMerge } from "./read-merge.ts";
import type { Faults } from "./schema-error.ts";
import type { FieldShape, FreeForm, MessageShape, ScalarShape, ValueShape } from "./shape.ts";

/** Numbers of the options in FieldRules. */
const BSON = [1];
const BSON_TYPE = [2];

export interface ShapeReader {
  /** The shape of a collection's message: its field `id` is the document's `_id`. */
  record(message: DescMessage): MessageShape;
}

export function shapeReader(faults: Faults): ShapeReader {
  const records = new Map<string, MessageShape>();
  const nested = new Map<string, MessageShape>();
  const read = (message: DescMessage, isRecord: boolean): MessageShape => {
    const known = isRecord ? records : nested;
    const found = known.get(message.typeName);
    if (found !== undefined) return found;
    const fields: FieldShape[] = [];
    const shape: MessageShape = { desc: message, fields };
    known.set(message.typeName, shape);
    checkMessage(message, faults);
    const nestedOf = (type: DescMessage) => read(type, false);
    for (const field of message.fields) fields.push(readField(field, { isRecord, faults, nestedOf }));
    fields.sort((a, b) => a.number - b.number);
    checkKeys(fields, faults);
    return shape;
  };
  return { record: (message) => read(message, true) };
}

interface Context {
  readonly isRecord: boolean;
  readonly faults: Faults;
  readonly nestedOf: (message: DescMessage) => MessageShape;
}

function checkMessage(message: DescMessage, faults: Faults): void {
  if (message.proto.extensionRange.length > 0) {
    faults.add(message, `${message.name} has extensions, which no document can hold: declare its fields`);
  }
}

function checkKeys(fields: readonly FieldShape[], faults: Faults): void {
  const known = new Map<string, FieldShape>();
  for (const field of fields) {
    const other = known.get(field.key);
    if (other === undefined) known.set(field.key, field);
    else {
      const advice = "give one of them another key with `bson`";
      faults.add(
        field.desc,
        `${field.name} and ${other.name} are both the key "${field.key}": ${advice}`,
        BSON,
      );
    }
  }
}

function readField(field: DescField, context: Context): FieldShape {
  const { faults, isRecord } = context;
  const rules = getOption(field, fieldRules);
  const isId = isRecord && field.name === "id";
  if (rules.$unknown !== undefined) {
    faults.add(
      field,
      `${field.name} has a rule this server doesn't know: use the schema.proto of its version`,
    );
  }
  if (field.presence === Presence.LEGACY_REQUIRED) {
    faults.add(field, `${field.name} is required, which no later version could ever undo: make it optional`);
  }
  if (!isRecord) checkNestedRules(field, faults);
  if (!isId) checkKey(field, rules.bson, faults);
  const shape = {
    desc: field,
    number: field.number,
    name: field.name,
    key: isId ? "_id" : rules.bson || field.jsonName,
    hidden: rules.access === FieldAccess.HIDDEN,
    oneof: field.oneof?.name,
    cardinality: cardinalityOf(field),
    packed: field.fieldKind === "list" && field.packed,
    mapKey: field.fieldKind === "map" ? field.mapKey : undefined,
    value: readValue(field, context),
  };
  return { ...shape, merge: isId ? undefined : readFieldMerge(shape, rules.merge, faults) };
}

/** A nested message is one value to stamps and access: only merging and hiding reach into it. */
function checkNestedRules(field: DescField, faults: Faults): void {
  const rules = getOption(field, fieldRules);
  if (rules.stamp !== Stamp.UNSPECIFIED || rules.access === FieldAccess.READ_ONLY) {
    const where = `${field.parent.name}.${field.name}, a field of a nested message`;
    faults.add(field, `stamp and READ_ONLY don't reach ${where}: set them on the record's own field`, []);
  }
}

function checkKey(field: DescField, key: string, faults: Faults): void {
  const effective = key || field.jsonName;
  if (/^\$|\.|\0/.test(effective)) {
    faults.add(
      field,
      `a document can't have the key "${effective}": use one without "." that doesn't begin with "$"`,
      BSON,
    );
  }
  if (effective === "__proto__" || effective === "_bsontype") {
    faults.add(field, `drivers take the key "${effective}" for something else: use another`, BSON);
  }
}

function cardinalityOf(field: DescField): FieldShape["cardinality"] {
  if (field.fieldKind === "list" || field.fieldKind === "map") return field.fieldKind;
  return field.presence === Presence.IMPLICIT ? "implicit" : "explicit";
}

function readValue(field: DescField, context: Context): ValueShape {
  if (field.scalar !== undefined) return scalarShape(field.scalar, field, context);
  if (field.enum !== undefined) {
    if (field.enum.typeName === "google.protobuf.NullValue") return unsupported(field, context);
    const bsonType = typeFor(field, enumTypes, context.faults);
    return { kind: "enum", desc: field.enum, bsonType, leaf: anyLeaf(enumLeaf(field.enum, bsonType)) };
  }
  if (field.message === undefined) return unsupported(field, context);
  const value = readMessage(field, field.message, context);
  if (value.kind !== "wrapper") {
    typeFor(field, value.kind === "timestamp" ? timestampTypes : [], context.faults);
  }
  return value;
}

function readMessage(field: DescField, message: DescMessage, context: Context): ValueShape {
  if ("delimitedEncoding" in field && field.delimitedEncoding) {
    const advice = "declare a message and a field of it";
    context.faults.add(field, `${field.name} is a group, which clients can't all read: ${advice}`);
  }
  const { typeName } = message;
  if (typeName === "google.protobuf.Timestamp") return { kind: "timestamp" };
  const form = freeForms[typeName];
  if (form !== undefined) return { kind: "free", form };
  const wrapped = wrappers[typeName];
  if (wrapped !== undefined) return { kind: "wrapper", inner: scalarShape(wrapped, field, context) };
  if (typeName.startsWith("google.protobuf.") && typeName !== "google.protobuf.Empty") {
    return unsupported(field, context);
  }
  return { kind: "message", shape: context.nestedOf(message) };
}

const freeForms: Readonly<Record<string, FreeForm>> = {
  "google.protobuf.Struct": "struct",
  "google.protobuf.Value": "value",
  "google.protobuf.ListValue": "list",
};

const wrappers: Readonly<Record<string, ScalarType>> = {
  "google.protobuf.DoubleValue": ScalarType.DOUBLE,
  "google.protobuf.FloatValue": ScalarType.FLOAT,
  "google.protobuf.Int64Value": ScalarType.INT64,
  "google.protobuf.UInt64Value": ScalarType.UINT64,
  "google.protobuf.Int32Value": ScalarType.INT32,
  "google.protobuf.UInt32Value": ScalarType.UINT32,
  "google.protobuf.BoolValue": ScalarType.BOOL,
  "google.protobuf.StringValue": ScalarType.STRING,
  "google.protobuf.BytesValue": ScalarType.BYTES,
};

const instead: Readonly<Record<string, string>> = {
  "google.protobuf.Any": "declare the messages it may hold in a oneof",
  "google.protobuf.Duration": "store an int64 of milliseconds, and say so in its name",
  "google.protobuf.FieldMask": "use repeated string",
  "google.protobuf.NullValue": "use google.protobuf.Value",
};

function unsupported(field: DescField, { faults }: Context): ValueShape {
  const typeName = field.message?.typeName ?? field.enum?.typeName ?? "its type";
  faults.add(
    field,
    `${field.name}: ${typeName} has no place in a document: ${instead[typeName] ?? "use a message of your own"}`,
  );
  return { kind: "free", form: "value" };
}

function scalarShape(scalar: ScalarType, field: DescField, { faults }: Context): ScalarShape {
  const bsonType = typeFor(field, bsonTypesOfScalar(scalar), faults);
  return { kind: "scalar", scalar, bsonType, leaf: scalarLeaf(scalar, bsonType) };
}

/** The field's bson_type where it fits; else NATIVE, with a fault. */
function typeFor(field: DescField, fitting: readonly BsonType[], faults: Faults): BsonType {
  const { bsonType: option } = getOption(field, fieldRules);
  const type = bsonTypeOf(option);
  if (type === "NATIVE" || (type !== undefined && fitting.includes(type))) return type;
  const named = type === undefined ? `type ${option}` : `BSON_TYPE_${type}`;
  const choice =
    fitting.length === 0 ? "" : ` or set ${fitting.map((name) => `BSON_TYPE_${name}`).join(", ")}`;
  faults.add(field, `bson_type ${named} doesn't fit ${field.name}: leave it out${choice}`, BSON_TYPE);
  return "NATIVE";
}
