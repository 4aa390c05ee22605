// What `tidemark dev` prints once it is ready: each line works as printed, in another terminal.

export interface DevServer {
  readonly url: string;
  readonly mongodbUri: string;
  /** The demo's schema and data are there to try things on. */
  readonly isDemo: boolean;
  /** How many records clients can pull, for reading. */
  readonly records: string;
  /** The server's settings that a command beside it needs as well; those given only. */
  readonly settings: Readonly<Record<string, string | undefined>>;
}

export function whatToTry(server: DevServer): string {
  const { url, mongodbUri, isDemo, records } = server;
  const head = `
Tidemark is ready at ${url}, with ${records} records.
MongoDB is at ${mongodbUri}
`;
  return `${head}${isDemo ? demoLines(server) : schemaLines(url)}\nStop with Ctrl-C.\n`;
}

function demoLines({ url, mongodbUri, settings }: DevServer): string {
  const inDatabase = settingsPrefix({ MONGODB_DB: settings["MONGODB_DB"] });
  const membership = (action: string) =>
    `${inDatabase}npx node examples/teams/membership.ts ${action} ben harbour ${quoted(mongodbUri)}`;
  const flags = "--protocol grpc --http2-prior-knowledge -H 'authorization: Bearer dev-ana'";
  const cities = `{"selections":[{"collection":"cities"}],"mode":"PULL_MODE_CATCH_UP","options":{"recordForm":"RECORD_FORM_JSON"}}`;
  return `
Try in another terminal:

  # follow what ana may see; leave it running and watch it
  npx tidemark pull${urlFlag(url)}

  # push an edit (send it twice: it happens once)
  curl -s ${url}/tidemark.v1.SyncService/PushMutations \\
    -H 'authorization: Bearer dev-ana' -H 'content-type: application/json' \\
    -d '{"mutations":[{"mutationId":"7b2f6f0e-52c7-4b0a-9d3c-0d6a3c1f7a01","collection":"todos","recordId":"milk","create":{"record":{"json":{"title":"Buy milk","ownerId":"ana"}}}}]}'

  # what became of it: the record as it is, and every edit of it
  ${settingsPrefix(settings)}npx tidemark why todos/milk

  # stream every city over gRPC
  npx buf curl ${flags} -d '${cities}' ${url}/tidemark.v1.SyncService/PullChanges

  # the same over Connect on HTTP/1.1, and by pages with GET
  printf '${enveloped(cities)}' | curl -sN --http1.1 ${url}/tidemark.v1.SyncService/PullChanges -H 'content-type: application/connect+json' --data-binary @-
  curl -sG ${url}/tidemark.v1.SyncService/ListChanges --data-urlencode connect=v1 --data-urlencode encoding=json --data-urlencode 'message={"selections":[{"collection":"cities"}]}'

  # a typed client in fifty lines
  npx node examples/follow-todos.ts${url === "http://localhost:8080" ? "" : ` ${url}`}

  # follow what ben may see as a member of two teams; leave it running and watch it
  npx tidemark pull todos lists memberships --token dev-ben${urlFlag(url)}

  # take him out of one: what he may see only as its member leaves his device; then put him back
  ${membership("revoke")}
  ${membership("grant")}
`;
}

/** A streaming request of Connect for printf: a flag byte, the length in four bytes, the message. */
function enveloped(message: string): string {
  const length = new TextEncoder().encode(message).length;
  const bytes = [0, length >>> 24, length >>> 16, length >>> 8, length].map((byte) => byte & 0xff);
  return bytes.map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("") + message;
}

/** `MONGODB_DB=shop `, for the shell. */
function settingsPrefix(settings: DevServer["settings"]): string {
  return Object.entries(settings)
    .map(([name, value]) => (value ? `${name}=${quoted(value)} ` : ""))
    .join("");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function schemaLines(url: string): string {
  return `
Try in another terminal:

  npx tidemark pull${urlFlag(url)} --token dev-ana
  npx buf curl --protocol grpc --http2-prior-knowledge -d '{}' ${url}/tidemark.v1.ServerService/GetServerInfo
`;
}

function urlFlag(url: string): string {
  return url === "http://localhost:8080" ? "" : ` --url ${url}`;
}
