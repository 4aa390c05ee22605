// Reads a message with the collection option: its names, fields and rules, with a fault for each that can't hold.
// The parts that need the schema as a whole (duplicate names, the public, validation) are readSchema's.
import { type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import {
  type CollectionOptions,
  collection as collectionOption,
  FieldAccess as FieldAccessOption,
  type FieldRules,
  field as fieldRules,
  Writes,
} from "#gen/tidemark/v1/schema_pb.js";
import { idTypes } from "./bson-type.ts";
import type { Collection, Field, FieldAccess, Merge } from "./collection.ts";
import { readDefaultMerge, readDeletes, readStamp } from "./read-merge.ts";
import { readMembership, readScopes } from "./read-scopes.ts";
import type { ShapeReader } from "./read-shape.ts";
import type { Faults } from "./schema-error.ts";
import type { FieldShape, MessageShape } from "./shape.ts";

/** Numbers of the options in CollectionOptions. */
const NAME = [1];
const WRITES = [3];

/** A collection without what needs the whole schema. `desc` of its fields is the team's own still. */
export type CollectionDraft = Omit<
  Collection,
  "message" | "isPublic" | "registry" | "rules" | "fingerprint" | "fieldsByNumber"
>;

export interface CollectionContext {
  readonly shapes: ShapeReader;
  readonly faults: Faults;
}

/** Undefined where faults leave nothing to go on with. */
export function readCollection(
  message: DescMessage,
  context: CollectionContext,
): CollectionDraft | undefined {
  const { faults } = context;
  const options = getOption(message, collectionOption);
  checkOptions(message, options, faults);
  const shape = context.shapes.record(message);
  const idShape = readId(message, shape, faults);
  const merge = readDefaultMerge(message, options.merge, faults) ?? "LAST_WRITER";
  const deletes = readDeletes(message, options.deletes, faults);
  const scopes = readScopes(message, options.scopes, { shape, faults });
  const grant = readMembership(message, options.grant, { shape, faults });
  if (idShape === undefined) return undefined;
  return {
    name: options.name,
    writable: options.writes !== Writes.SERVER_ONLY,
    merge,
    deletes,
    fields: shape.fields.filter((field) => field !== idShape).map((field) => readField(field, merge, faults)),
    idShape,
    scopes,
    grant,
    shape,
  };
}

function checkOptions(message: DescMessage, options: CollectionOptions, faults: Faults): void {
  const fault = faultOfName(options.name);
  if (fault !== undefined) faults.add(message, `the collection of ${message.name} ${fault}`, NAME);
  if (
    Writes[options.writes] === undefined ||
    options.$unknown !== undefined ||
    options.grant?.$unknown !== undefined
  ) {
    const advice = "use the schema.proto of its version";
    faults.add(
      message,
      `the collection of ${message.name} has a rule this server doesn't know: ${advice}`,
      WRITES,
    );
  }
}

/** Mutation.collection takes no longer names. */
const NAME_BYTES_MAX = 120;

/** What keeps a MongoDB collection from having this name, or Tidemark from serving it. */
function faultOfName(name: string): string | undefined {
  if (name === "") return "has no name: set `name` to that of the MongoDB collection";
  if (/[/$\0]/.test(name)) return `can't be "${name}": use a name without "/", "$" and NUL`;
  if (name.startsWith("system."))
    return `can't be "${name}": names beginning with "system." are MongoDB's own`;
  if (/^tidemark([._]|$)/.test(name))
    return `can't be "${name}": names beginning with "tidemark" are Tidemark's own`;
  if (Buffer.byteLength(name) > NAME_BYTES_MAX)
    return `has a name of more than ${NAME_BYTES_MAX} bytes: shorten it`;
  return undefined;
}

function readId(message: DescMessage, shape: MessageShape, faults: Faults): FieldShape | undefined {
  const id = shape.fields.find((field) => field.name === "id");
  if (id === undefined) {
    faults.add(message, `${message.name} has no field \`id\`, which stands for _id: add \`string id = 1;\``);
    return undefined;
  }
  const { value, desc } = id;
  if (
    value.kind !== "scalar" ||
    value.scalar !== ScalarType.STRING ||
    desc.fieldKind !== "scalar" ||
    desc.oneof
  ) {
    const advice = "declare `string id`, with a bson_type where _id isn't a string";
    faults.add(desc, `${message.name}.id must be a string outside any oneof: ${advice}`);
    return undefined;
  }
  if (value.bsonType !== "NATIVE" && !idTypes.includes(value.bsonType)) {
    faults.add(desc, `an _id can't be BSON_TYPE_${value.bsonType}: ${idTypes.join(", ")} can`, [2]);
  }
  const rules = getOption(desc, fieldRules);
  if (rules.bson !== "" && rules.bson !== "_id") {
    faults.add(desc, `${message.name}.id is always the key "_id": leave \`bson\` out`, [1]);
  }
  if (rules.merge || rules.stamp || rules.access) {
    faults.add(
      desc,
      `${message.name}.id never changes and is always seen: leave merge, access and stamp out`,
    );
  }
  return id;
}

function readField(shape: FieldShape, inherited: Merge, faults: Faults): Field {
  const { desc, number, name, key, oneof } = shape;
  const rules = getOption(desc, fieldRules);
  const access = readAccess(desc, rules, faults);
  const stamp = readStamp(shape, rules.stamp, faults);
  return {
    number,
    name,
    key,
    desc,
    merge: shape.merge ?? inherited,
    access,
    stamp,
    settable: access === "READ_WRITE" && stamp === undefined,
    oneof,
    shape,
  };
}

const accesses: Readonly<Record<FieldAccessOption, FieldAccess>> = {
  [FieldAccessOption.UNSPECIFIED]: "READ_WRITE",
  [FieldAccessOption.READ_WRITE]: "READ_WRITE",
  [FieldAccessOption.READ_ONLY]: "READ_ONLY",
  [FieldAccessOption.HIDDEN]: "HIDDEN",
};

function readAccess(desc: DescField, { access }: FieldRules, faults: Faults): FieldAccess {
  const known: FieldAccess | undefined = accesses[access];
  // What isn't understood must not be shown.
  if (known === undefined)
    faults.add(desc, `${desc.name}: access ${access} is not known: READ_WRITE, READ_ONLY, HIDDEN are`, [4]);
  return known ?? "HIDDEN";
}
