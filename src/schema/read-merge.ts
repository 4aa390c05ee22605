// Reads rules of merging, deleting and stamping: which fit which field, and which this version carries out.
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
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

/** What push carries out in this version. */
function isSupported(rule: Merge | Deletes | Stamp): boolean {
  return rule === "LAST_WRITER" || rule === "DELETE_WINS";
}

function checkSupported(
  place: Place,
  rule: Rule,
  { faults, option }: { faults: Faults; option: number[] },
): void {
  if (isSupported(rule)) return;
  faults.add(
    place,
    `${rule} is not supported yet by this version of Tidemark: leave it out until it is`,
    option,
  );
}

type Rule = Merge | Deletes | Stamp;
type Place = DescField | DescMessage;

export interface MergeReading {
  readonly place: Place;
  readonly option: MergeOption;
  /** Of a field; absent for a collection's default. */
  readonly shape?: FieldShape;
  readonly faults: Faults;
}

/** Undefined: none is given, or none that fits. */
export function readMerge({ place, option, shape, faults }: MergeReading): Merge | undefined {
  if (option === MergeOption.UNSPECIFIED) return undefined;
  const number = place.kind === "field" ? [3] : [4];
  const merge = merges[option];
  const wanted =
    merge === undefined ? "a rule this server knows" : shape ? wantedBy(merge, shape) : wantedByAll(merge);
  if (merge === undefined || wanted !== undefined) {
    faults.add(place, `merge ${merge ?? option} doesn't fit ${place.name}: it wants ${wanted}`, number);
    return undefined;
  }
  checkSupported(place, merge, { faults, option: number });
  return merge;
}

export function readDeletes(message: DescMessage, option: DeletesOption, faults: Faults): Deletes {
  const rule: Deletes | undefined = deletes[option];
  if (rule === undefined)
    faults.add(message, `deletes ${option} of ${message.name} is no rule this server knows`, [5]);
  else checkSupported(message, rule, { faults, option: [5] });
  return rule ?? "DELETE_WINS";
}

export function readStamp(shape: FieldShape, option: StampOption, faults: Faults): Stamp | undefined {
  if (option === StampOption.UNSPECIFIED) return undefined;
  const stamp = stamps[option];
  if (stamp === undefined || !isTime(shape)) {
    const problem = `stamp ${stamp ?? option} doesn't fit ${shape.name}`;
    faults.add(shape.desc, `${problem}: it wants a google.protobuf.Timestamp or an int64`, [5]);
    return undefined;
  }
  checkSupported(shape.desc, stamp, { faults, option: [5] });
  return stamp;
}

/** What a rule wants of a field that lacks it. */
function wantedBy(merge: Merge, shape: FieldShape): string | undefined {
  const single = shape.cardinality === "implicit" || shape.cardinality === "explicit";
  switch (merge) {
    case "COUNTER":
      return single && isNumber(shape) ? undefined : "a number";
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

function wantedByAll(merge: Merge): string | undefined {
  if (merge === "LAST_WRITER" || merge === "SERVER_WINS" || merge === "REJECT") return undefined;
  return "fields of certain types, so set it on those";
}

const notNumbers = new Set([ScalarType.STRING, ScalarType.BYTES, ScalarType.BOOL]);

function isNumber({ value }: FieldShape): boolean {
  return value.kind === "scalar" && !notNumbers.has(value.scalar);
}

const int64s = new Set([ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64]);

function isTime({ value, cardinality }: FieldShape): boolean {
  if (cardinality !== "implicit" && cardinality !== "explicit") return false;
  return value.kind === "timestamp" || (value.kind === "scalar" && int64s.has(value.scalar));
}
