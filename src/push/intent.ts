// What a mutation asks for, as read by the schema: the same for both forms of a record.
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Field } from "../schema/collection.ts";
import type { FieldBytes, PushedRecord } from "../schema/pushed-record.ts";

export type Intent =
  | {
      readonly kind: "create";
      /** The fields the record has, in number order. */
      readonly fields: readonly Field[];
      readonly values: FieldBytes;
      /** The record as a document, without its `_id`. */
      readonly document: SourceDocument;
    }
  | {
      readonly kind: "update";
      /** The fields named as changed, in number order, each once. */
      readonly fields: readonly Field[];
      readonly message: PushedRecord["message"];
      /** The new values; fields not named don't count. */
      readonly values: FieldBytes;
      /** The values the edit was made on; undefined: a blind write. */
      readonly base: FieldBytes | undefined;
    }
  | {
      readonly kind: "delete";
      readonly fields: readonly [];
      readonly base: FieldBytes | undefined;
    };
