// `tidemark generate`: client code for a team's schema, without hidden fields and access rules.
import { join } from "node:path";
import { readConfig } from "../config.ts";
import { generateClients } from "../generate/generate-clients.ts";
import { loadDescriptorSet } from "../generate/load-descriptor-set.ts";
import { readSchema } from "../schema/schema.ts";
import { type Arguments, type Command, type Terminal, textOption, UsageError } from "./command.ts";

const HELP = `Usage: tidemark generate [--schema PATH] [--typescript FOLDER] [--kotlin FOLDER] [--descriptor-set FILE] [--json]

Writes client code for your schema and Tidemark's contract. Hidden fields and access rules are left out.
Each folder is replaced as a whole. Kotlin needs Java and Maven on this machine.

  --schema PATH          a folder of .proto files, or a FileDescriptorSet (default: TIDEMARK_SCHEMA, else the demo)
  --typescript FOLDER    messages and services for @bufbuild/protobuf and @connectrpc
  --kotlin FOLDER        messages (lite) and services for connect-kotlin
  --descriptor-set FILE  the stripped FileDescriptorSet, for other tools
  --json                 print what was written as JSON
`;

export const generateCommand: Command = {
  help: HELP,
  options: {
    schema: { type: "string" },
    typescript: { type: "string" },
    kotlin: { type: "string" },
    "descriptor-set": { type: "string" },
    json: { type: "boolean" },
  },
  run: generate,
};

async function generate(args: Arguments, { out, err, env, signal }: Terminal): Promise<void> {
  const [typescript, kotlin, descriptorSet] = ["typescript", "kotlin", "descriptor-set"].map(
    (name) => textOption(args, name, "") || undefined,
  );
  if (!typescript && !kotlin && !descriptorSet) {
    throw new UsageError("say what to write: --typescript, --kotlin or --descriptor-set");
  }
  const config = readConfig({ ...env, TIDEMARK_DEV: "1", NODE_ENV: undefined, MONGODB_URI: undefined });
  const schema = await loadDescriptorSet(textOption(args, "schema", config.schema), signal);
  readSchema(schema);
  const written = await generateClients({
    schema,
    typescript,
    kotlin,
    descriptorSet,
    toolsFolder: join(config.dataFolder, "tools"),
    progress: (line) => err.write(`· ${line}\n`),
    signal,
  });
  if (args.values["json"]) out.write(`${JSON.stringify(written)}\n`);
  else
    for (const { target, files } of written) out.write(`${target}: ${files} file${files === 1 ? "" : "s"}\n`);
}
