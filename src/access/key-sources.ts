// The key sources of the settings, in the order they are asked: the operator's own file before the issuer's URL.
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import { openJwksFile } from "./jwks-file.ts";
import { JwksUrl } from "./jwks-url.ts";
import { KeySetError } from "./key-set.ts";
import type { KeySource } from "./key-source.ts";

export interface KeySourcesOptions {
  readonly jwksFile: string | undefined;
  readonly jwksUrl: string | undefined;
  readonly jwksStaleSeconds: number;
  readonly tokenAudience: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface KeySources {
  readonly sources: readonly KeySource[];
  close(): Promise<void>;
}

/** @throws KeySetError if the file has no key. A URL that doesn't answer is waited for by the calls that need it. */
export async function openKeySources(options: KeySourcesOptions): Promise<KeySources> {
  const { jwksFile, jwksUrl, jwksStaleSeconds, clock, logger } = options;
  const sources: KeySource[] = [];
  if (jwksFile !== undefined)
    sources.push(await openJwksFile({ path: jwksFile, clock, logger }).catch(named));
  const remote =
    jwksUrl === undefined
      ? undefined
      : new JwksUrl({ url: jwksUrl, staleMs: jwksStaleSeconds * 1_000, clock, logger });
  if (remote) sources.push(remote);
  if (sources.length > 0 && options.tokenAudience.length === 0) {
    logger.warn({}, "TIDEMARK_TOKEN_AUDIENCE is not set: tokens made for other services are accepted, too");
  }
  return { sources, close: async () => remote?.close() };
}

function named(error: unknown): never {
  if (!(error instanceof KeySetError)) throw error;
  throw new KeySetError(`TIDEMARK_JWKS_FILE: ${error.message}`, { cause: error });
}
