// The keys in a file, for issuers this server can't reach. Looked at again as calls come in, so that a key laid into
// the file counts without a restart. A file that can't be used any more leaves its keys of before in force.
import { readFile, stat } from "node:fs/promises";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import { KEY_SET_BYTES_MAX, type KeySet, KeySetError, readKeySet } from "./key-set.ts";
import type { KeySource } from "./key-source.ts";

export interface JwksFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long a key taken out of the file may still count. */
export const LOOK_MS = 1_000;

/** @throws KeySetError if there is no key to begin with. */
export async function openJwksFile({ path, clock, logger }: JwksFileOptions): Promise<KeySource> {
  // Before it is read: what is written meanwhile gives another stamp, and is read the next time.
  let seen = await stampOf(path);
  let keys = await readAt(path, logger);
  let lookedAtMs = clock.nowMs();
  let looking: Promise<void> | undefined;
  let fault: string | undefined;

  const readIfChanged = async () => {
    lookedAtMs = clock.nowMs();
    try {
      const stamp = await stampOf(path);
      if (stamp === seen) return;
      keys = await readAt(path, logger);
      seen = stamp;
      fault = undefined;
      logger.info({ path, keys: keys.size }, "read the key file anew");
    } catch (error) {
      if (!(error instanceof KeySetError)) throw error;
      if (fault !== error.message) {
        logger.warn({ path, fault: error.message }, "the key file can't be used: its keys of before hold");
      }
      fault = error.message;
    }
  };
  const look = () => {
    looking ??= readIfChanged().finally(() => {
      looking = undefined;
    });
    return looking;
  };
  return {
    async find({ header }) {
      if (Math.abs(clock.nowMs() - lookedAtMs) >= LOOK_MS) await look();
      const known = await keys.find(header);
      if (known) return known;
      await look();
      return keys.find(header);
    },
  };
}

async function readAt(path: string, logger: Logger): Promise<KeySet> {
  const keys = readKeySet(await readFile(path, "utf8").catch(unreadable));
  if (keys.unfit > 0) {
    logger.warn(
      { path, unfit: keys.unfit },
      "private, symmetric, weak or broken keys in the key file: left out",
    );
  }
  return keys;
}

/** Changes with the file, also if it is replaced by one of the same size and time. */
async function stampOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(unreadable);
  if (!found.isFile()) throw new KeySetError("it is no file");
  if (found.size > KEY_SET_BYTES_MAX) throw new KeySetError(`it has more than ${KEY_SET_BYTES_MAX} bytes`);
  return [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join();
}

function unreadable(cause: unknown): never {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  throw new KeySetError(`it can't be read (${code})`, { cause });
}
