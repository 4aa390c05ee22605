// What clients are generated from: the team's schema without rules and hidden fields, with Tidemark's contract.
// Pure; the caller's sets are left as they are.
import { clone, create } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
  FileOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { stripForClients } from "../schema/strip.ts";

/** Files of the contract that only a schema's author needs: in a client only where its records use them. */
const forAuthors = new Set(["tidemark/v1/schema.proto", "tidemark/v1/access.proto"]);

/** Imports first. Holds all that its files import, and nothing of the contract's that no client uses. */
export function clientSet(team: FileDescriptorSet, contract: FileDescriptorSet): FileDescriptorSet {
  const own = contract.file.filter((file) => !forAuthors.has(file.name));
  const ownNames = new Set(contract.file.map((file) => file.name));
  const theirs = stripForClients(team).file.filter((file) => !ownNames.has(file.name));
  const byName = new Map([...contract.file, ...theirs].map((file) => [file.name, file]));
  const wanted = new Map<string, FileDescriptorProto>();
  for (const file of [...own, ...theirs]) if (declaresTypes(file)) addWithImports(file, byName, wanted);
  return create(FileDescriptorSetSchema, { file: [...wanted.values()].map(withJavaClasses) });
}

/** False for what held nothing but rules. */
function declaresTypes({ messageType, enumType, service, extension }: FileDescriptorProto): boolean {
  return messageType.length + enumType.length + service.length + extension.length > 0;
}

function addWithImports(
  file: FileDescriptorProto,
  byName: ReadonlyMap<string, FileDescriptorProto>,
  wanted: Map<string, FileDescriptorProto>,
): void {
  if (wanted.has(file.name)) return;
  for (const name of file.dependency) {
    const dependency = byName.get(name);
    if (dependency !== undefined) addWithImports(dependency, byName, wanted);
  }
  wanted.set(file.name, file);
}

/** Gives Java and Kotlin a class per message, not one class per file, where the file doesn't say otherwise. */
function withJavaClasses(file: FileDescriptorProto): FileDescriptorProto {
  if (file.options !== undefined && Object.hasOwn(file.options, "javaMultipleFiles")) return file;
  const copy = clone(FileDescriptorProtoSchema, file);
  copy.options ??= create(FileOptionsSchema);
  copy.options.javaMultipleFiles = true;
  return copy;
}
