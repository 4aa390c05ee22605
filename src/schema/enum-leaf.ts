// Enums in documents: by value name without the enum's prefix, by full name, or by number. Numbers nobody declared
// are kept where the enum is open, as protobuf does; names nobody declared are unfit.
import type { DescEnum } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { Int32 } from "bson";
import { int32Of } from "./bson-number.ts";
import type { BsonType } from "./bson-type.ts";
import { kindOf } from "./bson-value.ts";
import type { LeafCodec } from "./leaf-codec.ts";
import { UnfitDocument } from "./unfit-document.ts";

export interface EnumNames {
  /** Every name a document may use. A full name wins over another value's short one. */
  readonly numbers: ReadonlyMap<string, number>;
  /** The name written, by number. */
  readonly names: ReadonlyMap<number, string>;
}

export function enumNames(desc: DescEnum): EnumNames {
  const prefix = `${upperSnake(desc.name)}_`;
  const shortOf = (name: string) =>
    name.startsWith(prefix) && name.length > prefix.length ? name.slice(prefix.length) : name;
  const numbers = new Map<string, number>();
  for (const { name, number } of desc.values) numbers.set(shortOf(name), number);
  for (const { name, number } of desc.values) numbers.set(name, number);
  const names = new Map<number, string>();
  for (const { name, number } of desc.values) {
    const short = shortOf(name);
    if (!names.has(number)) names.set(number, numbers.get(short) === number ? short : name);
  }
  return { numbers, names };
}

/** The leaf codec of an enum; UNSPECIFIED is absence where it may be, any other zero is written by name. */
export function enumLeaf(desc: DescEnum, type: BsonType): LeafCodec<number> {
  const { numbers, names } = enumNames(desc);
  const toName = (value: number) => names.get(value) ?? new Int32(value);
  const isNamed = type === "NATIVE" || type === "STRING";
  return {
    wireType: WireType.Varint,
    zeroIsAbsence: isNamed && names.get(0) === "UNSPECIFIED",
    read(value) {
      const number = typeof value === "string" ? numbers.get(value) : int32Of(value, -(2 ** 31), 2 ** 31 - 1);
      if (number !== undefined && (desc.open || names.has(number))) return number;
      throw new UnfitDocument(`${kindOf(value)} is not a value of the enum ${desc.name}`);
    },
    isZero: (value) => value === 0,
    put: (writer, value) => writer.int32(value),
    toBson: isNamed ? toName : (value) => (type === "INT64" ? BigInt(value) : new Int32(value)),
  };
}

/** `HTTPMethod` → `HTTP_METHOD`. */
function upperSnake(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toUpperCase();
}
