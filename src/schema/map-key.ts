// Keys of maps: a document's keys are strings, a map's may be integers or bools; only their canonical text is taken,
// so that no two keys of a document are one key of the map.
import { ScalarType } from "@bufbuild/protobuf";
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { invariant } from "../model/invariant.ts";
import { scalarLeaf } from "./leaf-codec.ts";
import { UnfitDocument } from "./unfit-document.ts";

interface MapKeyCodec {
  /** In the order of the canonical form. */
  sorted(keys: string[]): string[];
  /** Writes a key with its tag, number 1 of the entry. @throws UnfitDocument */
  put(writer: BinaryWriter, key: string): void;
}

export function mapKeyCodec(scalar: ScalarType | undefined): MapKeyCodec {
  invariant(scalar !== undefined, "a map has keys");
  if (scalar === ScalarType.STRING) {
    const tag = (1 << 3) | WireType.LengthDelimited;
    return { sorted: (keys) => keys.sort(), put: (writer, key) => writer.uint32(tag).string(key) };
  }
  const leaf = scalarLeaf(scalar, "NATIVE");
  const tag = (1 << 3) | leaf.wireType;
  return {
    sorted: (keys) => keys.sort(scalar === ScalarType.BOOL ? undefined : byNumber),
    put: (writer, key) => leaf.put(writer.uint32(tag), leaf.read(keyValue(scalar, key))),
  };
}

const integer = /^(0|-?[1-9]\d{0,19})$/;

/** Any order does for keys that are no integers: they are refused. */
function byNumber(a: string, b: string): number {
  if (!integer.test(a) || !integer.test(b)) return 0;
  const [first, second] = [BigInt(a), BigInt(b)];
  return first < second ? -1 : Number(first > second);
}

function keyValue(scalar: ScalarType, key: string): unknown {
  if (scalar === ScalarType.BOOL) {
    if (key === "true" || key === "false") return key === "true";
    throw new UnfitDocument('the key is neither "true" nor "false"');
  }
  if (!integer.test(key)) throw new UnfitDocument("the key is not an integer in its shortest form");
  return BigInt(key);
}
