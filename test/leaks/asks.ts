// What a device asks besides pulling: pushes, also into others' records, of what it may not set, and again; receipts,
// its own and others'; and whatever else a server answers, also to requests that make no sense.
import type { JsonObject } from "@bufbuild/protobuf";
import { ReceiptService } from "#gen/tidemark/v1/receipt_service_pb.js";
import { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { enveloped } from "./bytes.ts";
import { makeCanary } from "./canaries.ts";
import type { Mutation, Place } from "./cast.ts";
import type { Device } from "./device.ts";
import { DOORS, PAGE_DOORS } from "./doors.ts";

type Kind = NonNullable<Mutation["kind"]>;

/** Pushes anew, or again what it or another pushed before. */
export async function push(device: Device): Promise<void> {
  const { random, cast } = device.options;
  const isAgain = cast.pushed.length > 0 && random.below(3) === 0;
  const made = Array.from({ length: 1 + random.below(3) }, () => mutation(device));
  const mutations = isAgain ? [random.of([...device.pushed, ...cast.pushed])] : made;
  const recordForm = random.of([RecordForm.UNSPECIFIED, RecordForm.PROTO, RecordForm.JSON]);
  const request = { mutations, recordForm, atomic: random.below(6) === 0 };
  const how = { door: random.of(DOORS), about: device.about("push") };
  device.pushed.push(...mutations);
  cast.pushed.push(...mutations);
  await device.line().unary(SyncService.method.pushMutations, request, how);
}

function mutation(device: Device): Mutation {
  const { random, cast } = device.options;
  const collection = random.of(["notes", "notes", "notes", "papers", "papers", "boards"] as const);
  const place = collection === "boards" ? "notes" : collection;
  const recordId = random.below(6) === 0 ? newId(device, collection) : random.of(cast.ids[place]);
  const kind = kindOf(device, place, `${collection}/${recordId}`);
  const expectedVersion = random.below(8) === 0 ? BigInt(random.below(50)) : 0n;
  return { mutationId: random.uuid(), collection, recordId, expectedVersion, kind };
}

function kindOf(device: Device, place: Place, record: string): Kind {
  const { random, cast } = device.options;
  const word = () => propose(device, record);
  const ownerId = random.of(["", ...cast.users]);
  const teamId = random.of(["", ...cast.teams]);
  switch (random.below(8)) {
    case 0:
      return { case: "create", value: { record: json({ title: word(), body: word(), ownerId, teamId }) } };
    case 1:
      return { case: "delete", value: random.below(2) ? {} : { base: json({ title: word() }) } };
    case 2:
      return { case: "update", value: { record: json({ ownerId, teamId }) } };
    case 3:
      return {
        case: "update",
        value: { record: json({ title: word(), [place === "notes" ? "status" : "secret"]: word() }) },
      };
    case 4:
      return { case: "update", value: { record: json({ body: word() }) } };
    default: {
      const changed = { title: word(), body: word() };
      return {
        case: "update",
        value: { record: json(changed), base: json({ title: word(), body: word() }) },
      };
    }
  }
}

function newId({ options: { world, random, principal = "" } }: Device, collection: string): string {
  const id = makeCanary(random);
  world.book.proposals.set(id, { principal, record: `${collection}/${id}`, kind: "id" });
  return id;
}

/** A value that is nobody's but the device's until the server takes it. */
function propose({ options: { world, random, principal = "" } }: Device, record: string): string {
  const word = makeCanary(random);
  world.book.proposals.set(word, { principal, record, kind: "value" });
  return word;
}

function json(value: JsonObject) {
  return { form: { case: "json" as const, value } };
}

export async function receipts(device: Device): Promise<void> {
  const { random, cast } = device.options;
  const door = random.of(PAGE_DOORS);
  const about = { ...device.about("receipts"), scopesSince: cast.teams.map((team) => `team:${team}`) };
  if (random.below(3) === 0 && cast.pushed.length > 0) {
    const request = { mutationId: random.of(cast.pushed).mutationId ?? "" };
    await device.line().unary(ReceiptService.method.getReceipt, request, { door, about });
    return;
  }
  const place = random.of(["notes", "papers"] as const);
  const record = random.below(2) ? { collection: place, recordId: random.of(cast.ids[place]) } : {};
  const principal = random.below(4) === 0 ? random.of(cast.users) : "";
  let pageToken = "";
  for (let page = 0; page < 4; page++) {
    const request = { ...record, principal, pageToken, pageSize: random.of([0, 2]) };
    const response = await device.line().unary(ReceiptService.method.listReceipts, request, { door, about });
    if (!response?.nextPageToken) return;
    pageToken = response.nextPageToken;
  }
}

const PAGES = ["/", "/healthz", "/readyz", "/metrics", "/nothing", "/tidemark.v1.SyncService/Nothing"];

export async function anythingElse(device: Device): Promise<void> {
  const { random, cast } = device.options;
  const about = device.about("other");
  const line = device.line();
  const http = random.of([1, 2] as const);
  const plain = { protocol: "connect", codec: "json" } as const;
  const call = (method: string, path: string, headers: { [name: string]: string }, body?: Buffer) =>
    line.whole({ http, method, path, headers, body }, plain, { ...about, isEnveloped: false });
  const sync = "/tidemark.v1.SyncService";
  switch (random.below(7)) {
    case 0:
      return void (await line.unary(
        ServerService.method.getServerInfo,
        {},
        { door: random.of(PAGE_DOORS), about },
      ));
    case 1:
      return void (await call("GET", random.of(PAGES), {}));
    case 2: {
      const headers = { "content-type": "application/grpc", te: "trailers" };
      const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
      // file_containing_symbol of the hidden field's own message.
      const body = enveloped(Buffer.from([0x22, 13, ...Buffer.from("leaks.v1.Note")]));
      return void (await line.whole({ http: 2, method: "POST", path, headers, body }, plain, {
        ...about,
        isEnveloped: true,
      }));
    }
    case 3: {
      const body = Buffer.from(`{"mutations":[{"recordId":"${random.of(cast.ids.notes)}","nothing":1}]}`);
      return void (await call("POST", `${sync}/PushMutations`, { "content-type": "application/json" }, body));
    }
    case 4: {
      const body = Buffer.from([0, 0, 0, 0, 9, 255, 255, 255]);
      return void (await call(
        "POST",
        `${sync}/PullChanges`,
        { "content-type": "application/connect+proto" },
        body,
      ));
    }
    case 5:
      return void (await call(
        "POST",
        `${sync}/ListChanges`,
        { "content-type": "text/plain" },
        Buffer.from("{}"),
      ));
    default:
      return void (await call(
        "POST",
        `${sync}/ListChanges`,
        { "content-type": "application/json", authorization: "Bearer nobody" },
        Buffer.from("{}"),
      ));
  }
}
