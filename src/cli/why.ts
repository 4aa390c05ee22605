// `tidemark why`: explains one record from the database itself: what it is now, and which mutations made it so.
import { toJson } from "@bufbuild/protobuf";
import { LedgerEntrySchema } from "#gen/tidemark/v1/ledger_entry_pb.js";
import { readConfig } from "../config.ts";
import { ledgerEntryMessage } from "../edge/ledger-entries.ts";
import { loadDescriptorSet } from "../generate/load-descriptor-set.ts";
import { readSchema } from "../schema/schema.ts";
import { type Arguments, type Command, type Terminal, textOption, UsageError } from "./command.ts";
import { type RecordStory, readRecordStory } from "./record-story.ts";
import { withDatabase } from "./why-database.ts";
import { storyLines } from "./why-words.ts";

const HELP = `Usage: tidemark why <collection>/<id> [--limit N] [--json]

Tells what a record is now, in the change log and in the database, and what became of every mutation of it.
Reads the database directly, with the settings of the server: MONGODB_URI, MONGODB_DB, TIDEMARK_DB, TIDEMARK_SCHEMA.
Without MONGODB_URI, the embedded database in TIDEMARK_DATA, whether "npm start" runs or not.

  --limit N   mutations told, the latest of them (default 50)
  --json      one JSON object
`;

export const whyCommand: Command = {
  help: HELP,
  options: { limit: { type: "string" }, json: { type: "boolean" } },
  run: why,
};

const LIMIT_MAX = 10_000;

async function why(args: Arguments, { out, env, signal }: Terminal): Promise<void> {
  const asked = recordAsked(args);
  const limit = Number(textOption(args, "limit", "50"));
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) {
    throw new UsageError(`--limit takes a whole number from 1 to ${LIMIT_MAX}`);
  }
  // Whoever reads the database needs no key of tokens: only a server is refused without one.
  const config = readConfig({ ...env, TIDEMARK_DEV: "1", NODE_ENV: undefined });
  const schema = readSchema(await loadDescriptorSet(config.schema, signal));
  const collection = schema.collections.get(asked.collection);
  if (collection === undefined) {
    const known = [...schema.collections.keys()].sort().join(", ");
    throw new Error(`the schema has no collection "${asked.collection}"; it has ${known}`);
  }
  const story = await withDatabase(config, signal, (client) =>
    readRecordStory({ client, config, schema, collection, recordId: asked.recordId, limit, signal }),
  );
  out.write(
    args.values["json"] ? `${JSON.stringify(storyJson(story))}\n` : `${storyLines(story).join("\n")}\n`,
  );
}

/** Collections' names hold no slash, ids may. */
function recordAsked({ positionals }: Arguments): { collection: string; recordId: string } {
  const [name, ...extra] = positionals;
  const [, collection, recordId] = /^([^/]+)\/(.+)$/s.exec(name ?? "") ?? [];
  if (collection === undefined || recordId === undefined || extra.length > 0) {
    throw new UsageError("name one record: <collection>/<id>");
  }
  return { collection, recordId };
}

function storyJson({ collection, logAtMs, left, quarantined, mutations, ...rest }: RecordStory): object {
  return {
    collection: collection.name,
    ...rest,
    left: left.map(({ atMs, ...each }) => ({ ...each, at: new Date(atMs).toISOString() })),
    quarantined: quarantined && {
      reason: quarantined.reason,
      at: new Date(quarantined.atMs).toISOString(),
    },
    logAt: logAtMs === undefined ? undefined : new Date(logAtMs).toISOString(),
    mutations: mutations.map((entry) => toJson(LedgerEntrySchema, ledgerEntryMessage(entry))),
  };
}
