// Two devices of one person edit the same record while neither sees the other: what each rule makes of it.
// Run it as it is, all rules or some: npx node examples/conflicts/two-devices.ts counter set
// It starts a server of its own with board.proto; nothing of it stays.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { JsonObject } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Outcome } from "../../gen/ts/tidemark/v1/receipt_pb.js";
import { RecordForm } from "../../gen/ts/tidemark/v1/record_pb.js";
import { SyncService } from "../../gen/ts/tidemark/v1/sync_service_pb.js";

/** A device's edit of the record both have seen; null: it deletes the record. */
type Edit = JsonObject | null;

interface Story {
  readonly rule: string;
  readonly collection: string;
  readonly seen: JsonObject;
  readonly phone: Edit;
  readonly tablet: Edit;
}

const stories: readonly Story[] = [
  story("LAST_WRITER", { title: "Chess" }, { title: "Chess night" }, { title: "Go" }),
  story("SERVER_WINS", { price: "10" }, { price: "12" }, { price: "9" }),
  story("REJECT", { seat: "A1" }, { seat: "B2" }, { seat: "C3" }),
  story("COUNTER", { votes: 5 }, { votes: 6 }, { votes: 8 }),
  story("MAX", { highScore: 100 }, { highScore: 170 }, { highScore: 150 }),
  story("MIN", { bestMs: 900 }, { bestMs: 700 }, { bestMs: 800 }),
  story("SET", { tags: ["a", "b"] }, { tags: ["a", "b", "new"] }, { tags: ["b"] }),
  story(
    "nested",
    { place: { name: "Café", visits: 3 } },
    { place: { name: "Bar", visits: 4 } },
    { place: { name: "Café", visits: 5 } },
  ),
  story("DELETE_WINS", { text: "old" }, { text: "edited" }, null, "drafts"),
  story("DELETE_WINS", { text: "old" }, null, { text: "edited" }, "drafts"),
  story("EDIT_WINS", { text: "old" }, { text: "edited" }, null, "photos"),
  story("EDIT_WINS", { text: "old" }, null, { text: "edited" }, "photos"),
  story("deletes: REJECT", { text: "old" }, { text: "edited" }, null, "contracts"),
];

function story(
  ...[rule, seen, phone, tablet, collection = "games"]: [string, JsonObject, Edit, Edit, string?]
): Story {
  return { rule, collection, seen, phone, tablet };
}

const wanted = process.argv.slice(2).map((name) => name.toLowerCase().replace("-", "_"));
const chosen = stories.filter(({ rule }) => wanted.length === 0 || wanted.includes(rule.toLowerCase()));
const folder = await mkdtemp(join(tmpdir(), "tidemark-conflicts-"));
const server = spawn(process.execPath, ["src/cli/tidemark.ts", "dev", "--json"], {
  cwd: join(import.meta.dirname, "../.."),
  env: { ...process.env, PORT: "0", TIDEMARK_SCHEMA: import.meta.dirname, TIDEMARK_DATA: folder },
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const [line] = await once(createInterface(server.stdout), "line");
  const client = createClient(SyncService, createGrpcTransport({ baseUrl: JSON.parse(line).url }));
  for (const one of chosen) await tell(client, one);
} finally {
  server.kill("SIGTERM");
  await once(server, "exit");
  await rm(folder, { recursive: true, force: true });
}

async function tell(
  client: Client<typeof SyncService>,
  { rule, collection, seen, ...edits }: Story,
): Promise<void> {
  const recordId = randomUUID();
  const push = async (device: string, kind: Kind) => {
    const { receipts } = await client.pushMutations(
      { mutations: [{ mutationId: randomUUID(), collection, recordId, kind }], recordForm: RecordForm.JSON },
      { headers: { authorization: "Bearer dev-ana", "tidemark-client": `example/1.0.0; device=${device}` } },
    );
    return receipts[0];
  };
  await push("laptop", { case: "create", value: { record: recordOf({ ...seen, ownerId: "ana" }) } });
  console.log(`\n${rule}\n  both have seen  ${shown(seen)}`);
  let left = "";
  for (const device of ["phone", "tablet"] as const) {
    const edit = edits[device];
    const receipt = await push(device, kindOf(seen, edit));
    const asked = edit ? `sends ${shown(edit)}` : "deletes it";
    console.log(`  the ${device.padEnd(6)}  ${asked.padEnd(44)} ${Outcome[receipt?.outcome ?? 0]}`);
    const { form } = receipt?.record ?? {};
    left = form?.case === "json" ? shown(only(Object.keys(seen), form.value)) : "no record";
  }
  console.log(`  so there is     ${left}`);
}

type JsonRecord = ReturnType<typeof recordOf>;
type Kind =
  | { case: "create"; value: { record: JsonRecord } }
  | { case: "update"; value: { record: JsonRecord; base: JsonRecord } }
  | { case: "delete"; value: { base: JsonRecord } };

/** What an app sends: the fields it changed, and in `base` what they were. */
function kindOf(seen: JsonObject, edit: Edit): Kind {
  if (edit === null) return { case: "delete", value: { base: recordOf({ ...seen, ownerId: "ana" }) } };
  return { case: "update", value: { record: recordOf(edit), base: recordOf(only(Object.keys(edit), seen)) } };
}

function recordOf(value: JsonObject) {
  return { form: { case: "json" as const, value } };
}

function only(keys: readonly string[], json: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(json).filter(([key]) => keys.includes(key)));
}

function shown(json: JsonObject): string {
  return Object.entries(json)
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
    .join(", ");
}
