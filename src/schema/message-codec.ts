// Message codecs: a document to the canonical bytes of the message declared for it: visible fields in number order,
// defaults left out, map entries sorted. Equal decoded values have equal bytes, and the other way round.
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Document } from "bson";
import { invariant } from "../model/invariant.ts";
import { isDocument, kindOf, readerOf } from "./bson-value.ts";
import { deeper } from "./depth.ts";
import { mapKeyCodec } from "./map-key.ts";
import type { FieldShape, MessageShape } from "./shape.ts";
import { UnfitDocument } from "./unfit-document.ts";
import { unlessZero, type ValueCodec, valueCodec, type WriteBody } from "./value-codec.ts";

const bodies = new WeakMap<MessageShape, WriteBody>();

/** All fields but the hidden ones. Compiled once per shape. */
export function bodyWriter(shape: MessageShape): WriteBody {
  const known = bodies.get(shape);
  if (known !== undefined) return known;
  let compiled: WriteBody | undefined;
  // What a recursive type finds while it is being compiled.
  bodies.set(shape, (writer, document, depth) => compiled?.(writer, document, depth));
  compiled = compileBody(shape);
  bodies.set(shape, compiled);
  return compiled;
}

function compileBody(shape: MessageShape): WriteBody {
  const fields = shape.fields
    .filter((field) => !field.hidden)
    .map((field) => ({ key: field.key, write: fieldWriter(field) }));
  const oneofs = oneofChecks(shape);
  return (writer, document, depth) => {
    for (const check of oneofs) check(document);
    let key = "";
    try {
      for (const field of fields) {
        key = field.key;
        field.write(writer, document, depth);
      }
    } catch (error) {
      throw error instanceof UnfitDocument ? error.under(key) : error;
    }
  };
}

function oneofChecks(shape: MessageShape): ((document: Document) => void)[] {
  const groups = Map.groupBy(shape.fields, (field) => field.oneof);
  return [...groups].flatMap(([oneof, members]) => {
    if (oneof === undefined) return [];
    const readers = members.map(({ key }) => readerOf(key));
    return (document: Document) => {
      let found = 0;
      for (const read of readers) if ((read(document) ?? null) !== null) found++;
      if (found > 1) throw new UnfitDocument(`more than one member of the oneof ${oneof} is there`);
    };
  });
}

const writers = new WeakMap<FieldShape, WriteBody>();

/** One field of a document, with its tags, hidden or not; nothing where it is absent. Compiled once per shape. */
export function fieldWriter(field: FieldShape): WriteBody {
  const known = writers.get(field);
  if (known !== undefined) return known;
  const compiled = compileField(field);
  writers.set(field, compiled);
  return compiled;
}

function compileField(field: FieldShape): WriteBody {
  const read = readerOf(field.key);
  const write = presentWriter(field);
  return (writer, document, depth) => {
    const value = read(document);
    if (value !== undefined && value !== null) write(writer, value, depth);
  };
}

type WritePresent = (writer: BinaryWriter, value: unknown, depth: number) => void;

function presentWriter(field: FieldShape): WritePresent {
  const codec = valueCodec(field.value, bodyWriter);
  const tag = (field.number << 3) | codec.wireType;
  switch (field.cardinality) {
    case "implicit":
      invariant("leaf" in field.value, "only scalars and enums have implicit presence");
      return unlessZero(field.value.leaf, tag);
    case "explicit":
      return (writer, value, depth) => codec.write(writer.uint32(tag), value, depth);
    case "list":
      return field.packed ? packedWriter(field.number, codec) : listWriter(tag, codec);
    case "map":
      return mapWriter(field, codec);
  }
}

function listWriter(tag: number, codec: ValueCodec): WritePresent {
  return (writer, value, depth) =>
    writeElements(value, codec, (element) => codec.write(writer.uint32(tag), element, depth));
}

function packedWriter(number: number, codec: ValueCodec): WritePresent {
  const tag = (number << 3) | WireType.LengthDelimited;
  return (writer, value, depth) => {
    if (Array.isArray(value) && value.length === 0) return;
    writer.uint32(tag).fork();
    writeElements(value, codec, (element) => codec.write(writer, element, depth));
    writer.join();
  };
}

function writeElements(value: unknown, codec: ValueCodec, write: (element: unknown) => void): void {
  if (!Array.isArray(value)) throw new UnfitDocument(`${kindOf(value)} doesn't fit a list`);
  let index = 0;
  try {
    for (const element of value) {
      if ((element === null || element === undefined) && !codec.takesNull)
        throw new UnfitDocument("a list can't hold null");
      write(element);
      index++;
    }
  } catch (error) {
    throw error instanceof UnfitDocument ? error.under(`[${index}]`) : error;
  }
}

/** A null value is no entry, but in a map of google.protobuf.Value. */
function mapWriter(field: FieldShape, codec: ValueCodec): WritePresent {
  const entryTag = (field.number << 3) | WireType.LengthDelimited;
  const valueTag = (2 << 3) | codec.wireType;
  const keys = mapKeyCodec(field.mapKey);
  return (writer, value, depth) => {
    if (!isDocument(value)) throw new UnfitDocument(`${kindOf(value)} doesn't fit a map`);
    const inner = deeper(depth);
    for (const key of keys.sorted(Object.keys(value))) {
      const element: unknown = value[key];
      if ((element === null || element === undefined) && !codec.takesNull) continue;
      try {
        writer.uint32(entryTag).fork();
        keys.put(writer, key);
        codec.write(writer.uint32(valueTag), element, inner);
        writer.join();
      } catch (error) {
        throw error instanceof UnfitDocument ? error.under(`[${JSON.stringify(key)}]`) : error;
      }
    }
  };
}
