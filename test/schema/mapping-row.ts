// What rows of the mapping consist of, and the values several of them share.
import { Decimal128 } from "bson";
import type { JsonValue } from "../../src/model/record-form.ts";

export const oid = "65f0a1b2c3d4e5f601234567";
export const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
export const time = new Date("2026-11-21T03:04:05.678Z");
export const decimal = (text: string) => Decimal128.fromString(text);

/** One field and all that is known of its values. */
export interface Row {
  /** The field's key in documents. */
  readonly key: string;
  /** Its JSON name, where that differs. */
  readonly name?: string;
  /** Values of a document and what clients see of them; undefined: absent. */
  readonly reads: ReadonlyArray<readonly [bson: unknown, seen: JsonValue | undefined]>;
  readonly unfit: readonly unknown[];
  /** What a push of the JSON value writes. */
  readonly writes: ReadonlyArray<readonly [json: JsonValue, bson: unknown]>;
}
