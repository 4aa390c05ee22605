// Keys as text, so that they can be looked up: equal text exactly where the log's `_id`s are equal. MongoDB compares
// numbers by value, whatever their type, and everything else exactly (the log has no collation).
import { BSON } from "mongodb";
import { int64Of } from "../schema/bson-number.ts";

export function keyText(key: unknown): string {
  if (typeof key === "string") return `s${key}`;
  if (typeof key === "bigint") return `n${key}`;
  if (typeof key === "number") return numberText(key);
  const kind = bsonClassOf(key);
  if (kind === "ObjectId") return `o${String(key)}`;
  if (kind === "Long") return `n${String(key)}`;
  if (kind === "Decimal128") {
    const integer = int64Of(key);
    return integer === undefined ? numberText(Number(String(key))) : `n${integer}`;
  }
  return `b${Buffer.from(BSON.serialize({ key })).toString("base64")}`;
}

function numberText(value: number): string {
  return Number.isInteger(value) ? `n${BigInt(value)}` : `n${value}`;
}

function bsonClassOf(key: unknown): unknown {
  return typeof key === "object" && key !== null && "_bsontype" in key ? key._bsontype : undefined;
}
