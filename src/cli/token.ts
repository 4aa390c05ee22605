// `tidemark token`: makes an access token for trying things out, signed with the server's own HS256 secret.
import { SERVICE_CLAIM } from "../access/authenticate.ts";
import { issueToken } from "../access/issue-token.ts";
import type { Environment } from "../config.ts";
import { type Arguments, type Command, type Terminal, textOption, UsageError } from "./command.ts";

const HELP = `Usage: tidemark token <principal> [--ttl SECONDS] [--claims JSON] [--service] [--json]

Signs a token with TIDEMARK_TOKEN_SECRET, for trying a server that runs with the same secret. Where
TIDEMARK_TOKEN_ISSUER and TIDEMARK_TOKEN_AUDIENCE are set, the token has them.
A server in dev mode takes "dev-<principal>" without any of this.

  --ttl SECONDS   how long the token is good for (default 3600)
  --claims JSON   further claims, for example '{"teams":["t1","t2"]}'
  --service       for a part of your own backend: it reads and writes every scope, and sees everybody's receipts
  --json          print {token, principal, expiresInSeconds}
`;

const TTL_SECONDS_MAX = 365 * 86_400;

export const tokenCommand: Command = {
  help: HELP,
  options: {
    ttl: { type: "string" },
    claims: { type: "string" },
    service: { type: "boolean" },
    json: { type: "boolean" },
  },
  run: printToken,
};

async function printToken(args: Arguments, { out, env }: Terminal): Promise<void> {
  const [principal, ...extra] = args.positionals;
  if (!principal || extra.length) throw new UsageError("name one principal");
  const secret = env["TIDEMARK_TOKEN_SECRET"];
  if (!secret) {
    throw new UsageError(
      `TIDEMARK_TOKEN_SECRET is not set; a server in dev mode takes "Bearer dev-${principal}" as it is`,
    );
  }
  const ttlSeconds = Number(textOption(args, "ttl", "3600"));
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > TTL_SECONDS_MAX) {
    throw new UsageError(`--ttl takes whole seconds from 1 to ${TTL_SECONDS_MAX}`);
  }
  const service = args.values["service"] ? { [SERVICE_CLAIM]: true } : {};
  const claims = { ...expectedClaims(env), ...claimsOf(textOption(args, "claims", "{}")), ...service };
  const token = await issueToken({ secret, principal, claims, ttlSeconds, nowMs: Date.now() });
  out.write(
    args.values["json"]
      ? `${JSON.stringify({ token, principal, expiresInSeconds: ttlSeconds })}\n`
      : `${token}\n`,
  );
}

/** What a server with the same settings asks of every token. */
function expectedClaims(env: Environment): Record<string, string> {
  const issuer = env["TIDEMARK_TOKEN_ISSUER"];
  const audience = env["TIDEMARK_TOKEN_AUDIENCE"]?.split(",")[0]?.trim();
  return { ...(issuer ? { iss: issuer } : {}), ...(audience ? { aud: audience } : {}) };
}

function claimsOf(text: string): Record<string, unknown> {
  try {
    const claims: unknown = JSON.parse(text);
    if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return { ...claims };
  } catch {
    // Told below, in one sentence for every wrong shape.
  }
  throw new UsageError("--claims takes a JSON object");
}
