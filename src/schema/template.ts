// Templates: text with names in braces, such as `user:{owner_id}`. Pure text: who fills the slots is scopes.ts's.
//
// A scope's template is a list of segments between colons, each either plain text or one slot, and a value put into a
// slot never holds a colon. So two scopes are equal exactly if their segments are: no value can pass for two (P6).

export interface Template<Slot> {
  /** As the schema has it. */
  readonly text: string;
  /** The text before, between and after the slots: always one more than slots. */
  readonly literals: readonly string[];
  readonly slots: readonly Slot[];
}

/** Raised when values are put into scopes in another way: then logs written before are encoded anew. */
export const SCOPE_FORM = 2;

/** Reads a template; a string says what is wrong with it and what to do. */
export function parseTemplate(text: string): Template<string> | string {
  if (text === "") return 'is empty: give it a name such as "public" or "user:{owner_id}"';
  const literals = [""];
  const slots: string[] = [];
  for (const part of text.split(/(\{[^{}]*\})/)) {
    if (part.startsWith("{") && part.endsWith("}")) {
      slots.push(part.slice(1, -1));
      literals.push("");
    } else if (/[{}]/.test(part)) return "has a brace without its partner: write names as {name}";
    else literals[literals.length - 1] += part;
  }
  if (slots.includes("")) return "has empty braces: put a name between them";
  return { text, literals, slots };
}

/** What keeps a template from being a scope's, with what to do; undefined: nothing. */
export function faultOfScope({ literals, slots }: Template<unknown>): string | undefined {
  const isDelimited = literals.every(
    (literal, index) =>
      (index === 0 || literal.startsWith(":") || (literal === "" && index === slots.length)) &&
      (index === slots.length || literal.endsWith(":") || (literal === "" && index === 0)),
  );
  if (!isDelimited) {
    return "has a name that isn't by itself between colons, so that different values could give one scope: put `:` before and after it";
  }
  if (literals.some((literal) => literal !== escapeLiteral(literal))) {
    return "has a space, a control character, `/` or `%` in its own text: leave it out";
  }
  return undefined;
}

/**
 * What values can't hold, in a form they can: the separator, the sign of escapes, the slash that parts collection and
 * scope in a feed, and what nobody sees in a log line: control characters and white space. The list is closed, since
 * all nodes and versions must agree on it.
 */
const UNFIT = /[%:/\p{Cc} \u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]/gu;

/** A value as it stands in a scope: unfit characters as `%` and two hex digits per byte of their UTF-8. */
export function escapeValue(value: string): string {
  return value.replace(UNFIT, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  );
}

function escapeLiteral(literal: string): string {
  return literal.split(":").map(escapeValue).join(":");
}

/** The template with its slots resolved, or undefined if `resolve` gives undefined for any. */
export function resolveSlots<From, To>(
  template: Template<From>,
  resolve: (slot: From) => To | undefined,
): Template<To> | undefined {
  const slots = template.slots.map(resolve).filter((slot) => slot !== undefined);
  return slots.length === template.slots.length ? { ...template, slots } : undefined;
}

/**
 * Every text the template gives for the values of its slots, as they are; none if a slot has no values.
 * @param max how many at most; undefined where there would be more.
 */
export function render<Slot>(
  template: Template<Slot>,
  valuesOf: (slot: Slot) => readonly string[],
  max: number,
): string[] | undefined {
  let texts = [template.literals[0] ?? ""];
  for (const [index, slot] of template.slots.entries()) {
    const values = valuesOf(slot);
    if (texts.length * values.length > max) return undefined;
    const literal = template.literals[index + 1] ?? "";
    texts = texts.flatMap((text) => values.map((value) => `${text}${value}${literal}`));
  }
  return texts;
}

/** Whether some values of its slots, none of them empty, give this scope. */
export function canGive({ literals, slots }: Template<unknown>, scope: string): boolean {
  let at = 0;
  for (const [index, literal] of literals.entries()) {
    if (!scope.startsWith(literal, at)) return false;
    at += literal.length;
    if (index === slots.length) return at === scope.length;
    const colon = scope.indexOf(":", at);
    const end = colon === -1 ? scope.length : colon;
    if (end === at) return false;
    at = end;
  }
  return false;
}
