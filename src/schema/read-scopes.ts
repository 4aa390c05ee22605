// Reads what decides who sees what: a collection's scopes, its membership rule, and the grants tokens give.
import { type DescFile, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { Access as AccessOption, AccessSchema } from "#gen/tidemark/v1/access_pb.js";
import { app, type MembershipGrant } from "#gen/tidemark/v1/schema_pb.js";
import type { Access } from "../model/principal.ts";
import type { MembershipRule } from "./collection.ts";
import type { Faults } from "./schema-error.ts";
import type { FieldShape, MessageShape } from "./shape.ts";
import { faultOfScope, parseTemplate, resolveSlots, type Template } from "./template.ts";

/** A scope given by tokens: its slots are the names of claims. */
export interface ClaimGrant {
  readonly scope: Template<string>;
  readonly access: Access;
  /** Callers without a token hold it as well. */
  readonly anonymous: boolean;
}

interface Context {
  readonly shape: MessageShape;
  readonly faults: Faults;
}

export function readScopes(
  message: DescMessage,
  texts: readonly string[],
  { shape, faults }: Context,
): Template<FieldShape>[] {
  if (texts.length === 0) {
    const advice = 'add `scopes: ["user:{owner_id}"]` with a field of it, or `scopes: ["public"]`';
    faults.add(message, `nobody could ever see ${message.name}, which is in no scope: ${advice}`);
  }
  return texts.flatMap((text, index) => {
    const fault = (problem: string) => faults.add(message, `scope "${text}" ${problem}`, [2, index]);
    return readTemplate(text, shape, { fault, repeated: true, check: faultOfScope }) ?? [];
  });
}

/** Numbers of the options in CollectionOptions.grant. */
const GRANT = 6;

export function readMembership(
  message: DescMessage,
  grant: MembershipGrant | undefined,
  { shape, faults }: Context,
): MembershipRule | undefined {
  if (grant === undefined) return undefined;
  const read = (what: "principal" | "scope", check: TemplateReading["check"]) => {
    const number = what === "principal" ? 1 : 2;
    const fault = (problem: string) =>
      faults.add(message, `grant's ${what} "${grant[what]}" ${problem}`, [GRANT, number]);
    return readTemplate(grant[what], shape, { fault, repeated: false, check });
  };
  const principal = read("principal", faultOfPrincipal);
  const scope = read("scope", faultOfScope);
  const right = readRight(grant, shape, (problem, number) => faults.add(message, problem, [GRANT, number]));
  return principal && scope && right && { principal, scope, right };
}

function readRight(
  { right }: MembershipGrant,
  shape: MessageShape,
  fault: (problem: string, option: number) => void,
): MembershipRule["right"] | undefined {
  if (right.case !== "accessField") {
    const access = accessOf(right.value ?? AccessOption.UNSPECIFIED);
    if (access === undefined) fault("grant says no right: set `access` or `access_field`", 3);
    return access;
  }
  const field = shape.fields.find(({ name }) => name === right.value);
  const { value } = field ?? {};
  const isAccess = value?.kind === "enum" && value.desc.typeName === AccessSchema.typeName;
  if (isAccess && field !== undefined && field.cardinality !== "list" && field.cardinality !== "map")
    return field;
  fault(`grant's access_field "${right.value}" must name a field of type ${AccessSchema.typeName}`, 4);
  return undefined;
}

interface TemplateReading {
  readonly fault: (problem: string) => void;
  /** Whether lists may fill a slot. */
  readonly repeated: boolean;
  /** What else is wrong with it. */
  readonly check: (template: Template<string>) => string | undefined;
}

/** A token's `sub` has no separator of its own: two values in a row could name another principal. */
function faultOfPrincipal({ slots }: Template<string>): string | undefined {
  return slots.length > 1 ? "has two names: keep what tokens say as `sub` in one field" : undefined;
}

function readTemplate(
  text: string,
  shape: MessageShape,
  { fault, repeated, check }: TemplateReading,
): Template<FieldShape> | undefined {
  const template = parseTemplate(text);
  const problem = typeof template === "string" ? template : check(template);
  if (problem !== undefined) fault(problem);
  if (typeof template === "string") return undefined;
  return resolveSlots(template, (name) => {
    const field = shape.fields.find((field) => field.name === name);
    if (field === undefined) fault(`names ${name}, which is no field of ${shape.desc.name}: use proto names`);
    else if (!isText(field))
      fault(`names ${name}, whose type makes no scope: use a string, integer, bool or enum`);
    else if (field.cardinality === "list" && !repeated)
      fault(`names ${name}, a list: a membership grants one scope`);
    else return field;
    return undefined;
  });
}

const noTexts = new Set([ScalarType.DOUBLE, ScalarType.FLOAT, ScalarType.BYTES]);

function isText({ value, cardinality }: FieldShape): boolean {
  if (cardinality === "map") return false;
  return value.kind === "enum" || (value.kind === "scalar" && !noTexts.has(value.scalar));
}

export function readClaimGrants(file: DescFile, faults: Faults): ClaimGrant[] {
  const { grants, $unknown } = getOption(file, app);
  if ($unknown !== undefined || grants.some((grant) => grant.$unknown !== undefined)) {
    faults.add(
      file,
      "the app has an option this server doesn't know: use the schema.proto of its version",
      [],
    );
  }
  return grants.flatMap(({ scope: text, access: option, anonymous }, index) => {
    const fault = (problem: string) => faults.add(file, `grant "${text}" ${problem}`, [1, index]);
    const scope = parseTemplate(text);
    const problem = typeof scope === "string" ? scope : faultOfScope(scope);
    if (problem !== undefined) fault(problem);
    else if (typeof scope !== "string") {
      const access = option === AccessOption.UNSPECIFIED ? "READ_WRITE" : accessOf(option);
      if (access === undefined) fault(`has access ${option}: set ACCESS_READ or ACCESS_READ_WRITE`);
      else if (anonymous && scope.slots.length > 0)
        fault("is anonymous: who has no token has no claims, so no braces");
      else if (anonymous && access !== "READ")
        fault("is anonymous, which only reads: set `access: ACCESS_READ`");
      else return [{ scope, access, anonymous }];
    }
    return [];
  });
}

function accessOf(option: AccessOption): Access | undefined {
  if (option === AccessOption.READ) return "READ";
  return option === AccessOption.READ_WRITE ? "READ_WRITE" : undefined;
}
