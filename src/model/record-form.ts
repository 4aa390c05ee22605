// RecordForm: a record as it came over the wire, in the form its sender chose; only schema/ reads what is inside.

export type JsonValue = string | number | boolean | null | JsonObject | JsonValue[];

/** An object as JSON.parse gives it. */
export type JsonObject = { [key: string]: JsonValue };

/** As tidemark.v1.Record. */
export type RecordForm =
  | { readonly form: "PROTO"; readonly bytes: Uint8Array }
  | { readonly form: "JSON"; readonly json: JsonObject };
