// Server reflection, v1 and v1alpha: Tidemark's services and the team's schema as clients may see it, so that tools
// need no .proto file. Needs no token; nothing hidden is in it.
import {
  createRegistry,
  type DescExtension,
  type DescFile,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "#gen/google/rpc/error_details_pb.js";
import { ServerReflection as V1 } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";

/** What both versions ask, and what both take for an answer. */
type Asked =
  | {
      readonly case: "listServices" | "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType";
      readonly value: string;
    }
  | {
      readonly case: "fileContainingExtension";
      readonly value: { readonly containingType: string; readonly extensionNumber: number };
    }
  | { readonly case: undefined };

type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/**
 * @param services those told by name, reflection's own added.
 * @param team the files of the team's schema, as clients may see them.
 */
export function addReflection(
  router: ConnectRouter,
  services: readonly DescService[],
  team: readonly DescFile[],
): void {
  const index = indexOf([...services, V1, V1Alpha], team);
  const answer = <R extends { host: string; messageRequest: Asked }>(request: R) => ({
    validHost: request.host,
    originalRequest: request,
    messageResponse: find(request.messageRequest, index),
  });
  router.service(V1, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield answer(request);
    },
  });
  router.service(V1Alpha, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield answer(request);
    },
  });
}

interface Index {
  readonly services: readonly DescService[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly registry: ReturnType<typeof createRegistry>;
  /** A file's bytes, encoded once. */
  bytes(file: DescFile): Uint8Array;
}

function indexOf(services: readonly DescService[], team: readonly DescFile[]): Index {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    for (const dependency of file.dependencies) add(dependency);
  };
  // Tidemark's own files win over copies a team's schema was compiled with.
  for (const service of services) add(service.file);
  // Tools look up the types of error details here.
  add(file_google_rpc_error_details);
  for (const file of team) add(file);
  const encoded = new Map<DescFile, Uint8Array>();
  return {
    services,
    files,
    registry: createRegistry(...files.values()),
    bytes(file) {
      const bytes = encoded.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
      encoded.set(file, bytes);
      return bytes;
    },
  };
}

function find(asked: Asked, index: Index): Answer {
  switch (asked.case) {
    case "listServices": {
      const service = index.services.map(({ typeName }) => ({ name: typeName }));
      return {
        case: "listServicesResponse",
        value: { service: service.sort((a, b) => (a.name < b.name ? -1 : 1)) },
      };
    }
    case "fileByFilename":
      return fileAnswer(index.files.get(asked.value), asked.value, index);
    case "fileContainingSymbol":
      return fileAnswer(fileOfSymbol(asked.value, index), asked.value, index);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      const extension = extensionsOf(containingType, index).find(({ number }) => number === extensionNumber);
      return fileAnswer(extension?.file, `${containingType}#${extensionNumber}`, index);
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = asked.value;
      if (!index.registry.getMessage(baseTypeName)) return notFound(baseTypeName);
      const extensionNumber = extensionsOf(baseTypeName, index).map(({ number }) => number);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName, extensionNumber } };
    }
    case undefined:
      throw new ConnectError("message_request is not set", Code.InvalidArgument);
  }
}

/** The file with all it imports, itself first. */
function fileAnswer(file: DescFile | undefined, asked: string, index: Index): Answer {
  if (!file) return notFound(asked);
  const closure = new Set([file]);
  // A set's walk meets what is added on the way.
  for (const each of closure) for (const dependency of each.dependencies) closure.add(dependency);
  return {
    case: "fileDescriptorResponse",
    value: { fileDescriptorProto: [...closure].map((each) => index.bytes(each)) },
  };
}

/** Methods, fields and enum values are found by the type that holds them. */
function fileOfSymbol(symbol: string, { registry }: Index): DescFile | undefined {
  for (let name = symbol; name; name = name.slice(0, Math.max(0, name.lastIndexOf(".")))) {
    const found = registry.get(name);
    if (found) return found.file;
  }
  return undefined;
}

function extensionsOf(typeName: string, { registry }: Index): DescExtension[] {
  const extensions = [...registry].filter((type) => type.kind === "extension");
  return extensions.filter(({ extendee }) => extendee.typeName === typeName);
}

function notFound(what: string): Answer {
  return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `not found: ${what}` } };
}
