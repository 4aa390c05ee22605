// Which types only hidden fields need: what such a field holds would be told by its type as well as by its name, to
// whoever asks reflection or unpacks an app. Pure; works on descriptors, before anything is taken out of them.
import { hasExtension } from "@bufbuild/protobuf";
import type { DescriptorProto, FieldDescriptorProto, FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { collection } from "#gen/tidemark/v1/schema_pb.js";

/** Full names begin with a dot, as descriptors spell them. */
interface Type {
  readonly name: string;
  readonly parent: string | undefined;
  readonly isRecord: boolean;
  readonly seen: readonly string[];
  readonly hidden: readonly string[];
}

/**
 * The full names of messages and enums that hidden fields lead to and nothing else does: no visible field, no service,
 * no type that no field leads to at all.
 * @param isForeign files whose types stay in any case.
 */
export function typesOfHidden(
  set: FileDescriptorSet,
  isHidden: (field: FieldDescriptorProto) => boolean,
  isForeign: (fileName: string) => boolean,
): ReadonlySet<string> {
  const own = set.file.filter(({ name }) => !isForeign(name));
  const types = own.flatMap((file) => {
    const scope = file.package === "" ? "" : `.${file.package}`;
    const enums = file.enumType.map(({ name }) => enumType(`${scope}.${name}`, undefined));
    return [...file.messageType.flatMap((message) => typesIn(message, scope, isHidden)), ...enums];
  });
  const all = new Map(types.map((type) => [type.name, type]));
  const children = Map.groupBy(types, ({ parent }) => parent);
  const below = closure(
    types.flatMap(({ hidden }) => hidden),
    all,
    ({ name, seen, hidden }) => [
      ...seen,
      ...hidden,
      ...(children.get(name) ?? []).map((child) => child.name),
    ],
  );
  const asked = own.flatMap(({ service }) =>
    service.flatMap(({ method }) => method.flatMap(({ inputType, outputType }) => [inputType, outputType])),
  );
  const extended = own.flatMap(({ extension }) => extension.map(({ typeName }) => typeName));
  const roots = types.filter(({ name, isRecord }) => isRecord || !below.has(name)).map(({ name }) => name);
  const kept = closure([...roots, ...asked, ...extended], all, ({ seen, parent }) =>
    parent === undefined ? seen : [...seen, parent],
  );
  return new Set([...below].filter((name) => all.has(name) && !kept.has(name)));
}

function typesIn(
  message: DescriptorProto,
  scope: string,
  isHidden: (field: FieldDescriptorProto) => boolean,
  parent?: string,
): Type[] {
  const name = `${scope}.${message.name}`;
  const typesOf = (fields: readonly FieldDescriptorProto[]) =>
    fields.map(({ typeName }) => typeName).filter(Boolean);
  const { options, field, extension } = message;
  return [
    {
      name,
      parent,
      isRecord: options !== undefined && hasExtension(options, collection),
      seen: typesOf([...field.filter((each) => !isHidden(each)), ...extension]),
      hidden: typesOf(field.filter(isHidden)),
    },
    ...message.nestedType.flatMap((nested) => typesIn(nested, name, isHidden, name)),
    ...message.enumType.map((nested) => enumType(`${name}.${nested.name}`, name)),
  ];
}

function enumType(name: string, parent: string | undefined): Type {
  return { name, parent, isRecord: false, seen: [], hidden: [] };
}

function closure(
  from: readonly string[],
  all: ReadonlyMap<string, Type>,
  next: (type: Type) => readonly string[],
): Set<string> {
  const found = new Set(from);
  // A set's walk meets what is added on the way.
  for (const name of found) {
    const type = all.get(name);
    for (const further of type ? next(type) : []) found.add(further);
  }
  return found;
}
