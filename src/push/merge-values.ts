// The rules that work on a value by itself: COUNTER, MAX, MIN and SET, on three decoded sides. What was there before
// any rule applies (who changed what) is three-way.ts's business.
import { ScalarType } from "@bufbuild/protobuf";
import { isReflectMessage } from "@bufbuild/protobuf/reflect";
import { invariant } from "../model/invariant.ts";
import type { FieldShape } from "../schema/shape.ts";
import { Refused } from "./refused.ts";

export interface Values {
  /** Undefined: absent. */
  readonly base: unknown;
  readonly current: unknown;
  readonly proposed: unknown;
}

type Numeric = number | bigint;

/**
 * The source's number and the difference the client made. What is absent counts as zero.
 * @throws Refused INVALID when the field can't hold the sum.
 */
export function counted(field: FieldShape, { base, current, proposed }: Values): Numeric {
  const isWhole = [base, current, proposed].some((value) => typeof value === "bigint");
  const [from, now, to] = [base, current, proposed].map((value) => numericOf(value, isWhole));
  const sum = isWhole
    ? (now as bigint) + ((to as bigint) - (from as bigint))
    : asFloat(field, Number(now) + (Number(to) - Number(from)));
  if (!isWithin(field, sum)) {
    const message = "the difference added to the present value is more than the field holds";
    throw new Refused("INVALID", `${field.name}: ${message}`, {
      violations: [{ path: field.name, ruleId: "merge.counter", message }],
    });
  }
  return sum;
}

function numericOf(value: unknown, isWhole: boolean): Numeric {
  invariant(
    value === undefined || typeof value === "number" || typeof value === "bigint",
    "a counter is a number",
  );
  if (value === undefined) return isWhole ? 0n : 0;
  return value;
}

/** What a float can't hold is its infinity, as it is for doubles. */
function asFloat({ value }: FieldShape, sum: number): number {
  return value.kind === "scalar" && value.scalar === ScalarType.FLOAT ? Math.fround(sum) : sum;
}

const INT32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };
const UINT32 = { min: 0, max: 2 ** 32 - 1 };
const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const UINT64 = { min: 0n, max: 2n ** 64n - 1n };

interface Range {
  readonly min: Numeric;
  readonly max: Numeric;
}

const RANGES: { readonly [T in ScalarType]?: Range } = {
  [ScalarType.INT32]: INT32,
  [ScalarType.SINT32]: INT32,
  [ScalarType.SFIXED32]: INT32,
  [ScalarType.UINT32]: UINT32,
  [ScalarType.FIXED32]: UINT32,
  [ScalarType.INT64]: INT64,
  [ScalarType.SINT64]: INT64,
  [ScalarType.SFIXED64]: INT64,
  [ScalarType.UINT64]: UINT64,
  [ScalarType.FIXED64]: UINT64,
};

/** Floats hold any sum, infinity too. */
function isWithin({ value }: FieldShape, sum: Numeric): boolean {
  invariant(value.kind === "scalar", "a counter is a scalar");
  const range = RANGES[value.scalar];
  return range === undefined || (sum >= range.min && sum <= range.max);
}

/** Whichever of the source's and the client's value is the larger, or the smaller. Absence and NaN lose. */
export function extreme(rule: "MAX" | "MIN", { current, proposed }: Values): "current" | "proposed" {
  const [now, wanted] = [comparable(current), comparable(proposed)];
  if (wanted === undefined) return "current";
  if (now === undefined) return "proposed";
  const isLarger = wanted > now;
  return isLarger === (rule === "MAX") && wanted !== now ? "proposed" : "current";
}

/** Undefined: loses against anything. */
function comparable(value: unknown): Numeric | undefined {
  if (isReflectMessage(value)) return msOf(value.message);
  invariant(
    value === undefined || typeof value === "number" || typeof value === "bigint",
    "MAX and MIN are of numbers",
  );
  return Number.isNaN(value) ? undefined : value;
}

function msOf(timestamp: object): number {
  invariant("seconds" in timestamp && "nanos" in timestamp, "a Timestamp has seconds and nanos");
  return Number(timestamp.seconds) * 1000 + Number(timestamp.nanos) / 1_000_000;
}

export interface Sets {
  readonly base: Iterable<unknown>;
  readonly current: Iterable<unknown>;
  readonly proposed: Iterable<unknown>;
}

/** The source's elements in their order, without those the client took away, then those it added: each once. */
export function united({ base, current, proposed }: Sets): unknown[] {
  const [from, now, to] = [elementsOf(base), elementsOf(current), elementsOf(proposed)];
  const kept = [...now].filter(([key]) => to.has(key) || !from.has(key));
  const added = [...to].filter(([key]) => !from.has(key) && !now.has(key));
  return [...kept, ...added].map(([, element]) => element);
}

/** Each once, by what makes it equal to another. */
function elementsOf(elements: Iterable<unknown>): Map<string, unknown> {
  const unique = new Map<string, unknown>();
  for (const element of elements) {
    const key = element instanceof Uint8Array ? Buffer.from(element).toString("base64") : String(element);
    if (!unique.has(key)) unique.set(key, element);
  }
  return unique;
}
