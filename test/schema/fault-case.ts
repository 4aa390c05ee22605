// A schema of one message and what is wrong with it: the pieces such cases are made of.
import type { Source } from "./compile-cases.ts";

export const option = (rest = "", name = "things") =>
  `option (tidemark.v1.collection) = {name: "${name}" ${rest.includes("scopes") ? "" : 'scopes: "public"'} ${rest}};`;
/** A collection whose field `x` is on line 1. */
export const withField = (declaration: string, more = "") => ({
  text: `message Thing { ${option()} string id = 1; ${declaration} }\n${more}`,
});
export const withRule = (type: string, rule: string, more = "") =>
  withField(`${type} x = 2 [(tidemark.v1.field) = {${rule}}];`, more);
export const withOption = (rest: string, name?: string) => ({
  text: `message Thing { ${option(rest, name)} string id = 1; string owner_id = 2; repeated string list = 3; double real = 4;
    map<string, string> map = 5; Inner inner = 6; bytes data = 7; tidemark.v1.Access right = 8; bool flag = 9; int64 number = 10;
    repeated tidemark.v1.Access rights = 11; string secret = 12 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN]; }
    message Inner { string id = 1; }`,
});
export const withApp = (grants: string) => ({
  text: `option (tidemark.v1.app) = { grants: [${grants}] };\n${withField("").text}`,
});

export interface Case extends Source {
  readonly title: string;
  /** Each fault, as `line: part of the message`; none: accepted. */
  readonly faults: readonly string[];
}
