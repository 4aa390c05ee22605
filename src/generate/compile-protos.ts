// Compiles a team's .proto files to a descriptor set, with comments and positions, by the installed buf.
// Beside the team's files lie Tidemark's own protos and protovalidate's; faults come back with the team's paths.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { CompileError, type CompileFault } from "./compile-error.ts";
import { printProto } from "./print-proto.ts";
import { type ProtoFile, readProtoFolder } from "./proto-folder.ts";
import { runBuf } from "./run-buf.ts";
import { inTempFolder } from "./temp-folder.ts";

const ownProtos = join(import.meta.dirname, "../../proto/tidemark");
const validateProto = "buf/validate/validate.proto";
const workspace = "version: v2\nmodules:\n  - path: team\n  - path: brought\n";

/**
 * The descriptors of a folder's .proto files and of all they import, in an order that has imports first.
 * Which import paths the files have is told at `readProtoFolder`. Leaves nothing behind; needs no network and no home.
 * @throws CompileError with every fault found.
 */
export async function compileProtos(folder: string, signal?: AbortSignal): Promise<FileDescriptorSet> {
  const files = await readProtoFolder(folder);
  if (files.length === 0) throw CompileError.of(folder, "only files that Tidemark brings itself");
  return await inTempFolder(async (temp) => {
    await writeWorkspace(temp, files);
    return await build({ temp, module: "team", files, signal });
  });
}

/** Tidemark's own contract, as `compileProtos` gives a team's. */
export async function compileContract(signal?: AbortSignal): Promise<FileDescriptorSet> {
  return await inTempFolder(async (temp) => {
    await writeWorkspace(temp, []);
    return await build({ temp, module: "brought", files: [], signal });
  });
}

async function writeWorkspace(temp: string, files: readonly ProtoFile[]): Promise<void> {
  await Promise.all([
    writeFile(
      join(temp, "buf.yaml"),
      files.length > 0 ? workspace : workspace.replace("  - path: team\n", ""),
    ),
    cp(ownProtos, join(temp, "brought/tidemark"), { recursive: true }),
    place(join(temp, "brought", validateProto), printProto(file_buf_validate_validate.proto)),
    ...files.map((file) => place(join(temp, "team", file.importPath), file.text)),
  ]);
}

async function place(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

interface Build {
  readonly temp: string;
  readonly module: "team" | "brought";
  readonly files: readonly ProtoFile[];
  readonly signal: AbortSignal | undefined;
}

async function build({ temp, module, files, signal }: Build): Promise<FileDescriptorSet> {
  const args = ["build", module, "--as-file-descriptor-set", "--error-format", "json", "-o", "set.binpb"];
  const run = await runBuf(args, { folder: temp, signal });
  if (run.exitCode !== 0) throw faultsOf(run.stderr, files);
  const set = fromBinary(FileDescriptorSetSchema, await readFile(join(temp, "set.binpb")));
  // The printed text of validate.proto lacks its options; the genuine descriptor has them.
  set.file = set.file.map((file) => (file.name === validateProto ? file_buf_validate_validate.proto : file));
  return set;
}

function faultsOf(stderr: string, files: readonly ProtoFile[]): Error {
  const faults = stderr.split("\n").flatMap((line) => faultOf(line, files));
  return faults.length > 0 ? new CompileError(faults) : new Error(`buf build failed: ${stderr.trim()}`);
}

/** Reads one line of buf's JSON; none where it isn't such a line. */
function faultOf(line: string, files: readonly ProtoFile[]): CompileFault[] {
  if (!line.startsWith("{")) return [];
  const { path = "", start_line = 0, start_column = 0, message = "" } = JSON.parse(line) as BufFault;
  const file = files.find(({ importPath }) => path.endsWith(`team/${importPath}`));
  const statement = file?.text.split("\n")[start_line - 1]?.match(/import\s.*?(["'].+["'])/)?.[1];
  const named = message === "imported file does not exist" ? `${message}: ${statement ?? ""}` : message;
  return [{ file: file?.path ?? path, line: start_line, column: start_column, message: named }];
}

interface BufFault {
  readonly path?: string;
  readonly start_line?: number;
  readonly start_column?: number;
  readonly message?: string;
}
