// Reads BSON's numbers as the numbers a field declares, only where nothing is lost: 3.0 is an int32, 3.5 is not.
import { bsonClassOf } from "./bson-value.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** More digits than any integer type has: such a decimal is not expanded. */
const DIGITS_MAX = 40;

/** An integer between the bounds; undefined: not a number, has a fraction, or too large. Negative zero is 0. */
export function int32Of(value: unknown, min: number, max: number): number | undefined {
  const number = typeof value === "number" ? value : Number(bigintOf(value) ?? Number.NaN);
  return Number.isInteger(number) && number >= min && number <= max ? number + 0 : undefined;
}

export function int64Of(value: unknown): bigint | undefined {
  const integer = bigintOf(value);
  return integer !== undefined && integer >= INT64_MIN && integer <= INT64_MAX ? integer : undefined;
}

export function uint64Of(value: unknown): bigint | undefined {
  const integer = bigintOf(value);
  return integer !== undefined && BigInt.asUintN(64, integer) === integer ? integer : undefined;
}

/** Integers only as far as a double holds them exactly; decimals only if integral or not finite. Negative zero is 0. */
export function doubleOf(value: unknown): number | undefined {
  if (typeof value === "number") return value + 0;
  const name = bsonClassOf(value);
  if (name === "Double" || name === "Int32") return Number(value) + 0;
  if (name === "Decimal128") {
    const text = String(value);
    if (text === "NaN" || text.endsWith("Infinity")) return Number(text);
  }
  const integer = bigintOf(value);
  if (integer === undefined) return undefined;
  const number = Number(integer);
  return BigInt(number) === integer ? number : undefined;
}

function bigintOf(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : undefined;
  switch (bsonClassOf(value)) {
    case "Int32":
    case "Double":
      return Number.isInteger(Number(value)) ? BigInt(Number(value)) : undefined;
    case "Long":
      return BigInt(String(value));
    case "Decimal128":
      return integralDecimal(String(value));
    default:
      return undefined;
  }
}

const decimalText = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]\d+))?$/;

function integralDecimal(text: string): bigint | undefined {
  const match = decimalText.exec(text);
  if (match === null) return undefined;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = match;
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  if (digits === "") return 0n;
  const trimmed = digits.replace(/0+$/, "");
  const zeros = Number(exponent) - fraction.length + (digits.length - trimmed.length);
  if (zeros < 0 || trimmed.length + zeros > DIGITS_MAX) return undefined;
  return BigInt(`${sign}${trimmed}${"0".repeat(zeros)}`);
}
