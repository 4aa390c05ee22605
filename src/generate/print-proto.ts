// Prints a proto2 file descriptor as .proto text that compiles to the same types and numbers.
// Options and comments are left out: the text only lets other files import the types.
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";

const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);

/** @throws Error for what validate.proto does not use: groups, services, maps and other syntaxes. */
export function printProto(file: FileDescriptorProto): string {
  if (file.syntax !== "" && file.syntax !== "proto2") throw new Error(`cannot print syntax ${file.syntax}`);
  if (file.service.length > 0) throw new Error("cannot print services");
  return [
    'syntax = "proto2";',
    `package ${file.package};`,
    ...file.dependency.map((name) => `import "${name}";`),
    ...printExtensions(file.extension),
    ...file.messageType.flatMap(printMessage),
    ...file.enumType.flatMap(printEnum),
    "",
  ].join("\n");
}

function printExtensions(extensions: readonly FieldDescriptorProto[]): string[] {
  return extensions.flatMap((field) => [`extend ${field.extendee} {`, ...indent([printField(field)]), "}"]);
}

function printMessage(message: DescriptorProto): string[] {
  if (message.options?.mapEntry) throw new Error(`cannot print the map ${message.name}`);
  const oneofs = message.oneofDecl.flatMap((oneof, index) => [
    `oneof ${oneof.name} {`,
    ...indent(
      message.field.filter((f) => f.oneofIndex === index && isOneofMember(f)).map((f) => printField(f, "")),
    ),
    "}",
  ]);
  const body = [
    ...message.field.filter((field) => !isOneofMember(field)).map((field) => printField(field)),
    ...oneofs,
    ...message.extensionRange.map(
      (range) => `extensions ${range.start} to ${range.end > 536870911 ? "max" : range.end - 1};`,
    ),
    ...message.reservedRange.map((range) => `reserved ${range.start} to ${range.end - 1};`),
    ...message.reservedName.map((name) => `reserved "${name}";`),
    ...printExtensions(message.extension),
    ...message.nestedType.flatMap(printMessage),
    ...message.enumType.flatMap(printEnum),
  ];
  return [`message ${message.name} {`, ...indent(body), "}"];
}

function isOneofMember(field: FieldDescriptorProto): boolean {
  return Object.hasOwn(field, "oneofIndex") && !field.proto3Optional;
}

function printEnum(enumType: EnumDescriptorProto): string[] {
  return [
    `enum ${enumType.name} {`,
    ...indent(enumType.value.map((value) => `${value.name} = ${value.number};`)),
    "}",
  ];
}

function printField(
  field: FieldDescriptorProto,
  label = `${FieldDescriptorProto_Label[field.label].toLowerCase()} `,
): string {
  if (field.type === FieldDescriptorProto_Type.GROUP) throw new Error(`cannot print the group ${field.name}`);
  const type = field.typeName || FieldDescriptorProto_Type[field.type].toLowerCase();
  return `${label}${type} ${field.name} = ${field.number};`;
}
