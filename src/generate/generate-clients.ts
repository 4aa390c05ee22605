// Generates client code for a team's schema together with Tidemark's contract: TypeScript, Kotlin, or the bare
// descriptor set for other tools. Tidemark's options and hidden fields are in none of them.
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { clientSet } from "./client-set.ts";
import { compileContract } from "./compile-protos.ts";
import { type KotlinTools, kotlinTools } from "./kotlin-tools.ts";
import { replaceGenerated } from "./replace-generated.ts";
import { runBuf } from "./run-buf.ts";
import { inTempFolder } from "./temp-folder.ts";

export interface ClientOptions {
  /** The team's schema, as `loadDescriptorSet` gives it. */
  readonly schema: FileDescriptorSet;
  /** A folder for `.js` and `.d.ts` files; the app needs @bufbuild/protobuf and @bufbuild/protovalidate. */
  readonly typescript?: string | undefined;
  /** A folder that gets `java/` and `kotlin/`; the app needs protobuf-kotlin-lite and connect-kotlin. */
  readonly kotlin?: string | undefined;
  /** A file for the descriptor set the others are made from, for tools of one's own: buf.gen.swift.yaml. */
  readonly descriptorSet?: string | undefined;
  /** Where fetched tools are kept; only Kotlin needs it. */
  readonly toolsFolder: string;
  /** Told, in a sentence, what takes long. */
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** What was written: the folder or file as it was named, and the number of files in it. */
export interface Generated {
  readonly target: string;
  readonly files: number;
}

type Plugin = Readonly<Record<string, string | readonly string[]>>;

const require = createRequire(import.meta.url);

/**
 * Replaces what an earlier run left in the folders named. Nothing is written unless everything could be generated.
 * @throws KotlinToolsMissing where Kotlin is asked for and can't be made here; NotGenerated where a folder holds
 *   files of another origin.
 */
export async function generateClients(options: ClientOptions): Promise<Generated[]> {
  const { schema, typescript, kotlin, descriptorSet, signal } = options;
  const bytes = toBinary(FileDescriptorSetSchema, clientSet(schema, await compileContract(signal)));
  const tools =
    kotlin === undefined ? undefined : await kotlinTools({ ...options, folder: options.toolsFolder });
  return await inTempFolder(async (temp) => {
    await writeFile(join(temp, "clients.binpb"), bytes);
    const plugins = [
      ...(typescript === undefined ? [] : typescriptPlugins()),
      ...(tools === undefined ? [] : kotlinPlugins(tools)),
    ];
    if (plugins.length > 0) await generate(temp, plugins, signal);
    const written: Generated[] = [];
    for (const [target, name] of [
      [typescript, "typescript"],
      [kotlin, "kotlin"],
    ] as const) {
      if (target !== undefined)
        written.push({ target, files: await replaceGenerated(target, join(temp, name)) });
    }
    if (descriptorSet !== undefined) written.push(await writeSet(descriptorSet, bytes));
    return written;
  });
}

async function writeSet(path: string, bytes: Uint8Array): Promise<Generated> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return { target: path, files: 1 };
}

async function generate(
  temp: string,
  plugins: readonly Plugin[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const template = {
    version: "v2",
    plugins,
    // What every language gets from its run-time libraries.
    inputs: [{ binary_image: "clients.binpb", exclude_paths: ["google/protobuf", "buf/validate"] }],
  };
  const run = await runBuf(["generate", "--template", JSON.stringify(template)], { folder: temp, signal });
  if (run.exitCode !== 0) throw new Error(`generating client code failed: ${run.stderr.trim()}`);
}

function typescriptPlugins(): Plugin[] {
  return [
    {
      local: [process.execPath, require.resolve("@bufbuild/protoc-gen-es/bin/protoc-gen-es")],
      out: "typescript",
      opt: [
        // JavaScript with types, as protobuf's enums are none that Node's type stripping takes.
        "target=js+dts",
        "import_extension=js",
        "rewrite_imports=./buf/validate/validate_pb.js:@bufbuild/protovalidate/gen",
      ],
    },
  ];
}

function kotlinPlugins({ java, protoc, connectPlugin }: KotlinTools): Plugin[] {
  return [
    { protoc_builtin: "java", protoc_path: protoc, out: "kotlin/java", opt: ["lite"] },
    { protoc_builtin: "kotlin", protoc_path: protoc, out: "kotlin/kotlin", opt: ["lite"] },
    { local: [java, "-jar", connectPlugin], out: "kotlin/kotlin" },
  ];
}
