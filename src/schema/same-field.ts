// Equality of values in documents: decoded values are equal when their canonical bytes are.
import type { Document } from "bson";
import { encodeShape } from "./encode-document.ts";
import type { FieldShape } from "./shape.ts";
import { UnfitDocument } from "./unfit-document.ts";

/** Whether a field decodes to the same in both documents; an unfit value is like no other. */
export function sameField(field: FieldShape, a: Document, b: Document): boolean {
  try {
    return Buffer.compare(encodeShape(field, a), encodeShape(field, b)) === 0;
  } catch (error) {
    if (error instanceof UnfitDocument) return false;
    throw error;
  }
}
