// What clients may see of a schema: no rule of Tidemark's, no field declared HIDDEN, no comment about either.
// Pure: the set given stays as it is.
import { clone, create, getExtension, isFieldSet, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProto_ReservedRangeSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
  FileOptionsSchema,
  MessageOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { FieldAccess, field as fieldRules } from "#gen/tidemark/v1/schema_pb.js";
import { typesOfHidden } from "./hidden-types.ts";
import { OPTION_NUMBER } from "./schema-error.ts";
import { type Removal, withoutLocations } from "./source-info.ts";

const rulesFile = "tidemark/v1/schema.proto";

/**
 * The set generated clients and server reflection are made from. Hidden fields leave their numbers reserved, not their
 * names; the types that only they need go with them. buf.validate's rules stay; tidemark/v1/schema.proto goes, unless a message uses one of its types.
 */
export function stripForClients(set: FileDescriptorSet): FileDescriptorSet {
  const rules = set.file.find((file) => file.name === rulesFile);
  const ruleTypes = new Set(rules === undefined ? [] : typesOf(rules));
  const gone = typesOfHidden(set, isHidden, (name) => untouched.test(name));
  const file = set.file.map((file) => (file === rules ? file : stripFile(file, { ruleTypes, gone })));
  const needed = file.some((each) => each.dependency.includes(rulesFile));
  return create(FileDescriptorSetSchema, { file: needed ? file : file.filter((each) => each !== rules) });
}

function typesOf(file: FileDescriptorProto): string[] {
  const types = [...file.messageType, ...file.enumType];
  return types.map((type) => `.${file.package}.${type.name}`);
}

/** Other projects' files, where no rule of Tidemark's can be. */
const foreign = /^(google\/protobuf|buf\/validate)\//;
/** Files whose types stay, whoever uses them. */
const untouched = /^(google\/protobuf|buf\/validate|tidemark\/v1)\//;

interface Stripping {
  /** Types of Tidemark's rules. */
  readonly ruleTypes: ReadonlySet<string>;
  /** Types that go, by their full names. */
  readonly gone: ReadonlySet<string>;
}

function stripFile(original: FileDescriptorProto, { ruleTypes, gone }: Stripping): FileDescriptorProto {
  if (foreign.test(original.name)) return original;
  const file = clone(FileDescriptorProtoSchema, original);
  const removals: Removal[] = [];
  const name = file.package === "" ? "" : `.${file.package}`;
  for (const [index, message] of file.messageType.entries()) {
    stripMessage(message, { path: [4, index], name: `${name}.${message.name}`, removals, gone });
  }
  const isGone = (type: { readonly name: string }) => gone.has(`${name}.${type.name}`);
  removals.push({ list: [4], removed: indexesOf(file.messageType, isGone) });
  removals.push({ list: [5], removed: indexesOf(file.enumType, isGone) });
  file.messageType = file.messageType.filter((type) => !isGone(type));
  file.enumType = file.enumType.filter((type) => !isGone(type));
  if (file.options !== undefined) file.options = bare(FileOptionsSchema, file.options);
  if (!file.messageType.some((message) => uses(message, ruleTypes))) removeImport(file, removals);
  if (file.sourceCodeInfo !== undefined) {
    file.sourceCodeInfo.location = withoutLocations(file.sourceCodeInfo.location, removals);
  }
  return file;
}

function stripMessage(message: DescriptorProto, where: Where): void {
  const { path, name, removals, gone } = where;
  for (const [index, nested] of message.nestedType.entries()) {
    stripMessage(nested, { ...where, path: [...path, 3, index], name: `${name}.${nested.name}` });
  }
  const hidden = message.field.filter(isHidden);
  const reserve = ({ number }: FieldDescriptorProto) =>
    create(DescriptorProto_ReservedRangeSchema, { start: number, end: number + 1 });
  message.reservedRange.push(...hidden.map(reserve));
  removeOneofsOf(message, hidden, where);
  const entries = new Set(hidden.map((field) => field.typeName));
  const isGone = (type: { readonly name: string }) => gone.has(`${name}.${type.name}`);
  const goes = (type: DescriptorProto) => isGone(type) || isEntryOf(type, entries);
  removals.push({ list: [...path, 3], removed: indexesOf(message.nestedType, goes) });
  message.nestedType = message.nestedType.filter((type) => !goes(type));
  removals.push({ list: [...path, 4], removed: indexesOf(message.enumType, isGone) });
  message.enumType = message.enumType.filter((type) => !isGone(type));
  removals.push({ list: [...path, 2], removed: indexesOf(message.field, isHidden) });
  message.field = message.field.filter((field) => !isHidden(field));
  for (const field of message.field) {
    if (field.options !== undefined) field.options = bare(FieldOptionsSchema, field.options);
  }
  if (message.options !== undefined) message.options = bare(MessageOptionsSchema, message.options);
}

function isHidden(field: FieldDescriptorProto): boolean {
  if (field.options === undefined) return false;
  return getExtension(field.options, fieldRules).access === FieldAccess.HIDDEN;
}

/** A map's entry type has no use without its field. */
function isEntryOf(type: DescriptorProto, typeNames: ReadonlySet<string>): boolean {
  return type.options?.mapEntry === true && [...typeNames].some((name) => name.endsWith(`.${type.name}`));
}

interface Where extends Pick<Stripping, "gone"> {
  readonly path: readonly number[];
  /** The message's full name. */
  readonly name: string;
  readonly removals: Removal[];
}

/** Removes oneofs all of whose members are hidden, and numbers the others anew. */
function removeOneofsOf(
  message: DescriptorProto,
  hidden: readonly FieldDescriptorProto[],
  where: Where,
): void {
  const inOneof = (field: FieldDescriptorProto) =>
    isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex);
  const visible = message.field.filter((field) => inOneof(field) && !hidden.includes(field));
  const kept = new Set(visible.map((field) => field.oneofIndex));
  const wasUsed = new Set(hidden.filter(inOneof).map((field) => field.oneofIndex));
  const goes = (index: number) => wasUsed.has(index) && !kept.has(index);
  const removed = new Set([...message.oneofDecl.keys()].filter(goes));
  for (const field of visible) {
    field.oneofIndex -= [...removed].filter((index) => index < field.oneofIndex).length;
  }
  message.oneofDecl = message.oneofDecl.filter((_, index) => !removed.has(index));
  where.removals.push({ list: [...where.path, 8], removed });
}

function indexesOf<T>(list: readonly T[], is: (element: T) => boolean): Set<number> {
  return new Set([...list.keys()].filter((index) => list.slice(index, index + 1).some(is)));
}

/** Options without Tidemark's; undefined if that leaves none. */
function bare<T extends Message>(schema: Parameters<typeof toBinary>[0], options: T): T | undefined {
  const rest = options.$unknown?.filter(({ no }) => no !== OPTION_NUMBER) ?? [];
  if (rest.length > 0) options.$unknown = rest;
  else delete options.$unknown;
  return toBinary(schema, options).length > 0 ? options : undefined;
}

function uses(message: DescriptorProto, types: ReadonlySet<string>): boolean {
  return (
    message.field.some((field) => types.has(field.typeName)) ||
    message.nestedType.some((type) => uses(type, types))
  );
}

function removeImport(file: FileDescriptorProto, removals: Removal[]): void {
  const removed = file.dependency.indexOf(rulesFile);
  if (removed === -1) return;
  file.dependency.splice(removed, 1);
  const renumber = (list: readonly number[]) =>
    list.filter((index) => index !== removed).map((index) => (index > removed ? index - 1 : index));
  file.publicDependency = renumber(file.publicDependency);
  file.weakDependency = renumber(file.weakDependency);
  removals.push({ list: [3], removed: new Set([removed]) });
}
