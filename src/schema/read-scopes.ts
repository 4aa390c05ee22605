// Reads what decides who sees what: a collection's scopes, its membership rule, and the grants tokens give.
import { type DescFile, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { Access as AccessOption, AccessSchema } from "#gen/tidemark/v1/access_pb.js";
import { app, type MembershipGrant } from "#gen/tidemark/v1/schema_pb.js";
import type { Access } from "../model/principal.ts";
import type { MembershipRule } from "./collection.ts";
import type { Faults } from "./schema-error.ts";
import type { FieldShape, MessageShape } from "./shape.ts";
import { parseTemplate, resolveSlots, type Template } from "./template.ts";

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
    return readTemplate(text, shape, { fault, repeated: true }) ?? [];
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
  const read = (text: string, number: number, what: string) => {
    const fault = (problem: string) =>
      faults.add(message, `grant's ${what} "${text}" ${problem}`, [GRANT, number]);
    return readTemplate(text, shape, { fault, repeated: false });
  };
  const principal = read(grant.principal, 1, "principal");
  const scope = read(grant.scope, 2, "scope");
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
}

function readTemplate(
  text: string,
  shape: MessageShape,
  { fault, repeated }: TemplateReading,
): Template<FieldShape> | undefined {
  const template = parseTemplate(text);
  if (typeof template === "string") {
    fault(template);
    return undefined;
  }
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
    if (typeof scope === "string") fault(scope);
    else {
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
