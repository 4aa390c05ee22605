// Text of others, fit for a terminal.

/**
 * Without what terminals obey or readers are misled by: control characters and marks of direction. What joins letters
 * and emojis stays.
 */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu, "�");
}
