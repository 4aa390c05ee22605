// No two lists of segments give one scope, whatever values tokens and documents hold; and a template is taken for a
// scope's only if that is so. Few characters, so that equal texts are met often.
import fc from "fast-check";
import { expect, test } from "vitest";
import { canGive, escapeValue, faultOfScope, parseTemplate, render } from "../../src/schema/template.ts";

type Segment = { readonly slot: boolean; readonly text: string };

const value = fc.string({
  unit: fc.constantFrom("a", ":", "%", "3A"),
  minLength: 1,
  maxLength: 3,
});
const literal = fc.string({ unit: fc.constantFrom("a", "3A", "é"), maxLength: 2 });
const segment = fc.oneof(
  value.map((text): Segment => ({ slot: true, text })),
  literal.map((text): Segment => ({ slot: false, text })),
);
const scope = fc
  .array(segment, { minLength: 1, maxLength: 3 })
  .filter((all) => all.some(({ slot, text }) => slot || text));
const pairs = { numRuns: 5_000 };
const crowds = { numRuns: 100, endOnFailure: true };

function rendered(segments: readonly Segment[], put: (value: string) => string): string {
  const text = segments.map((each, index) => (each.slot ? `{${index}}` : each.text)).join(":");
  const template = parseTemplate(text);
  if (typeof template === "string") throw new Error(`${text} ${template}`);
  expect(faultOfScope(template)).toBeUndefined();
  const [only] = render(template, (slot) => [put(segments[Number(slot)]?.text ?? "")], 1) ?? [];
  if (only === undefined) throw new Error("values give a scope");
  return only;
}

const contents = (segments: readonly Segment[]) => JSON.stringify(segments.map(({ text }) => text));

const crowd = fc.array(scope, { minLength: 300, maxLength: 300 });

/** Holds if `put` lets no two lists of segments, of a crowd, become one scope. */
const unambiguous = (put: (value: string) => string) =>
  fc.property(crowd, (all) => {
    const known = new Map<string, string>();
    return all.every((segments) => {
      const [text, content] = [rendered(segments, put), contents(segments)];
      const same = known.get(text) ?? content;
      known.set(text, content);
      return same === content;
    });
  });

test("scopes: two are equal only if their segments are, value for value", () => {
  fc.assert(unambiguous(escapeValue), crowds);
});

test("scopes: values put in as they are, or without escaping the escape → the check above fails", () => {
  const unlessPercent = (text: string) => text.split("%").map(escapeValue).join("%");
  for (const put of [(text: string) => text, unlessPercent]) {
    expect(fc.check(unambiguous(put), crowds).failed).toBe(true);
  }
});

test("scopes: a template can give each of its scopes, and with as many segments none but those", () => {
  fc.assert(
    fc.property(scope, scope, (a, b) => {
      const template = parseTemplate(a.map(({ slot, text }) => (slot ? "{x}" : text)).join(":"));
      if (typeof template === "string") throw new Error(template);
      expect(canGive(template, rendered(a, escapeValue))).toBe(true);
      const isItsOwn = a.length === b.length && a.every((each, at) => each.slot || each.text === b[at]?.text);
      const hasHoles = b.some(({ text }, at) => text === "" && a[at]?.slot);
      expect(canGive(template, rendered(b, escapeValue))).toBe(isItsOwn && !hasHoles);
    }),
    pairs,
  );
});

test("scopes: an escaped value holds no separator and nothing invisible; what is fit stays as it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const escaped = escapeValue(text);
      expect(escaped).not.toMatch(/[:/\s\p{Cc}]/u);
      if (text.isWellFormed()) expect(decodeURIComponent(escaped)).toBe(text);
    }),
  );
  for (const text of ["auth0|ana", "ana@example.org", "größe", "a-b_c.d~e", "😀"])
    expect(escapeValue(text)).toBe(text);
});
