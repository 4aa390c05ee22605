// Templates: text with names in braces, such as `user:{owner_id}`. Pure text: who fills the slots is scopes.ts's.

export interface Template<Slot> {
  /** As the schema has it. */
  readonly text: string;
  /** The text before, between and after the slots: always one more than slots. */
  readonly literals: readonly string[];
  readonly slots: readonly Slot[];
}

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
  if (literals.slice(1, -1).includes("")) {
    return "has two names without text between them, so that different values would give one scope: put `:` there";
  }
  return { text, literals, slots };
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
 * Every text the template gives for the values of its slots; none if a slot has no values.
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

/** Whether some values of its slots, none of them empty, give this text. */
export function canGive(template: Template<unknown>, text: string): boolean {
  const first = template.literals[0] ?? "";
  if (template.slots.length === 0) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const literal of template.literals.slice(1, -1)) {
    const next = text.indexOf(literal, at + 1);
    if (next === -1) return false;
    at = next + literal.length;
  }
  const last = template.literals.at(-1) ?? "";
  return text.endsWith(last) && text.length - last.length > at;
}
