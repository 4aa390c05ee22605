// Reads rules of merging, deleting and stamping, with a fault for each that doesn't fit its field. What rules mean
// together is check-merge.ts's.
import { type DescMessage, ScalarType } from "@bufbuild/protobuf";
import {
  Deletes as DeletesOption,
  Merge as MergeOption,
  Stamp as StampOption,
} from "#gen/tidemark/v1/schema_pb.js";
import type { Deletes, Merge, Stamp } from "./collection.ts";
import type { Faults } from "./schema-error.ts";
import type { FieldShape } from "./shape.ts";

const merges: Readonly<Record<MergeOption, Merge | undefined>> = {
  [MergeOption.UNSPECIFIED]: undefined,
  [MergeOption.LAST_WRITER]: "LAST_WRITER",
  [MergeOption.SERVER_WINS]: "SERVER_WINS",
  [MergeOption.REJECT]: "REJECT",
  [MergeOption.COUNTER]: "COUNTER",
  [MergeOption.MAX]: "MAX",
  [MergeOption.MIN]: "MIN",
  [MergeOption.SET]: "SET",
};

const deletes: Readonly<Record<DeletesOption, Deletes>> = {
  [DeletesOption.UNSPECIFIED]: "DELETE_WINS",
  [DeletesOption.DELETE_WINS]: "DELETE_WINS",
  [DeletesOption.EDIT_WINS]: "EDIT_WINS",
  [DeletesOption.REJECT]: "REJECT",
};

const stamps: Readonly<Record<StampOption, Stamp | undefined>> = {
  [StampOption.UNSPECIFIED]: undefined,
  [StampOption.CREATED_AT]: "CREATED_AT",
  [StampOption.WRITTEN_AT]: "WRITTEN_AT",
};

/** Numbers of the options: in CollectionOptions, in FieldRules. */
const DEFAULT_MERGE = [4];
const DELETES = [5];
const MERGE = [3];
const STAMP = [5];

/** Of a collection. Undefined: none is given, or none that fits. */
export function readDefaultMerge(
  message: DescMessage,
  option: MergeOption,
  faults: Faults,
): Merge | undefined {
  if (option === MergeOption.UNSPECIFIED) return undefined;
  const merge = merges[option];
  if (merge !== undefined && !isOfValues(merge)) return merge;
  const wanted = merge === undefined ? UNKNOWN_RULE : "fields of certain types, so set it on those";
  faults.add(message, misfit(message, merge ?? option, wanted), DEFAULT_MERGE);
  return undefined;
}

/** Of a field at any depth. Undefined: none is given, or none that fits. */
export function readFieldMerge(shape: RuledShape, option: MergeOption, faults: Faults): Merge | undefined {
  if (option === MergeOption.UNSPECIFIED) return undefined;
  const merge = merges[option];
  const wanted = merge === undefined ? UNKNOWN_RULE : wantedBy(merge, shape);
  if (wanted === undefined) return merge;
  faults.add(shape.desc, misfit(shape, merge ?? option, wanted), MERGE);
  return undefined;
}

const UNKNOWN_RULE = "a rule this server knows";

function misfit({ name }: { readonly name: string }, rule: Merge | number, wanted: string): string {
  return `merge ${rule} doesn't fit ${name}: it wants ${wanted}`;
}

export function readDeletes(message: DescMessage, option: DeletesOption, faults: Faults): Deletes {
  const rule: Deletes | undefined = deletes[option];
  if (rule === undefined)
    faults.add(message, `deletes ${option} of ${message.name} is no rule this server knows`, DELETES);
  return rule ?? "DELETE_WINS";
}

/** A stamp is the server's word: no rule of merging decides about it, no member of a oneof gives way to it. */
export function readStamp(shape: FieldShape, option: StampOption, faults: Faults): Stamp | undefined {
  if (option === StampOption.UNSPECIFIED) return undefined;
  const stamp = stamps[option];
  if (stamp === undefined || !isTime(shape) || shape.oneof !== undefined) {
    const problem = `stamp ${stamp ?? option} doesn't fit ${shape.name}`;
    const wanted = "a google.protobuf.Timestamp or an int64, outside any oneof";
    faults.add(shape.desc, `${problem}: it wants ${wanted}`, STAMP);
    return undefined;
  }
  if (shape.merge !== undefined) {
    faults.add(shape.desc, `the server alone sets ${shape.name}, by its stamp: leave merge out`, MERGE);
  }
  return stamp;
}

/** What a rule looks at of a field. */
type RuledShape = Omit<FieldShape, "merge">;

/** Rules that compute with values, so that no unit of several fields can have them. */
function isOfValues(merge: Merge): boolean {
  return merge === "COUNTER" || merge === "MAX" || merge === "MIN" || merge === "SET";
}

/** What a rule wants of a field that lacks it. */
function wantedBy(merge: Merge, shape: RuledShape): string | undefined {
  if (isOfValues(merge) && shape.oneof !== undefined) return "a field outside any oneof";
  const single = isSingle(shape);
  switch (merge) {
    case "COUNTER":
      return single && isNumber(shape) && !isDate(shape) ? undefined : "a number";
    case "MAX":
    case "MIN":
      return single && (isNumber(shape) || shape.value.kind === "timestamp")
        ? undefined
        : "a number or a Timestamp";
    case "SET":
      return shape.cardinality === "list" && "leaf" in shape.value ? undefined : "a list of scalars or enums";
    default:
      return undefined;
  }
}

function isSingle({ cardinality }: RuledShape): boolean {
  return cardinality === "implicit" || cardinality === "explicit";
}

const notNumbers = new Set([ScalarType.STRING, ScalarType.BYTES, ScalarType.BOOL]);

function isNumber({ value }: RuledShape): boolean {
  return value.kind === "scalar" && !notNumbers.has(value.scalar);
}

/** A point in time: there is a later one of two, but no sum. */
function isDate({ value }: RuledShape): boolean {
  return value.kind === "scalar" && value.bsonType === "DATE";
}

const int64s = new Set([ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64]);

function isTime(shape: RuledShape): boolean {
  if (!isSingle(shape)) return false;
  const { value } = shape;
  return value.kind === "timestamp" || (value.kind === "scalar" && int64s.has(value.scalar));
}
