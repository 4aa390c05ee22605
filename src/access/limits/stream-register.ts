// How many streams each holder has open on all nodes, in Redis. Each node writes only its own numbers, and always whole
// ones, so nothing can drift; a node that falls silent no longer counts after 45 s, by Redis's own clock.
import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Beats } from "./redis-link.ts";

export interface StreamRegister extends Beats {
  /**
   * Writes down this node's numbers if all holders stay within their limits, counting all nodes.
   * @returns the index of the first holder that doesn't; undefined: all do.
   */
  raise(redis: Redis, holders: readonly Open[]): Promise<number | undefined>;
  /** Writes down a number that has fallen. */
  lower(redis: Redis, holder: string, open: number): Promise<void>;
}

/** What a holder would have open on this node. */
export interface Open {
  readonly holder: string;
  readonly open: number;
  readonly max: number;
}

const SILENT_MS_MAX = 45_000;
/** Longer than any stream lives: only what nodes left behind expires. */
const KEY_SECONDS = 8 * 24 * 3_600;
const REJOIN_BATCH = 500;

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** KEYS: nodes. ARGV: this node, how long silent ones count. */
const BEAT = `${NOW}
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return known and 1 or 0
`;

/** KEYS: nodes, holders. ARGV: this node, how long silent ones count, a key's seconds, then (open, max) per holder. */
const RAISE = `${NOW}
for i = 2, #KEYS do
  local total = tonumber(ARGV[2 * i])
  local counts = redis.call('HGETALL', KEYS[i])
  for j = 1, #counts, 2 do
    if counts[j] ~= ARGV[1] then
      local seen = redis.call('ZSCORE', KEYS[1], counts[j])
      if seen and tonumber(seen) > now - ARGV[2] then
        total = total + tonumber(counts[j + 1])
      else
        redis.call('HDEL', KEYS[i], counts[j])
      end
    end
  end
  if total > tonumber(ARGV[2 * i + 1]) then return i - 2 end
end
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], ARGV[1], ARGV[2 * i])
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
return -1
`;

/** @param opens what each holder has open on this node now, for a Redis that doesn't know or no longer does. */
export function createStreamRegister(keyPrefix: string, opens: ReadonlyMap<string, number>): StreamRegister {
  const nodesKey = `${keyPrefix}:nodes`;
  const keyOf = (holder: string) => `${keyPrefix}:open_streams:${holder}`;
  // A new name after each outage: what was written under the old one and could not be corrected goes with it.
  let node = randomUUID();
  return {
    async raise(redis, holders) {
      const keys = [nodesKey, ...holders.map(({ holder }) => keyOf(holder))];
      const numbers = holders.flatMap(({ open, max }) => [open, max]);
      const over = await redis.eval(
        RAISE,
        keys.length,
        ...keys,
        node,
        SILENT_MS_MAX,
        KEY_SECONDS,
        ...numbers,
      );
      return over === -1 ? undefined : Number(over);
    },
    async lower(redis, holder, open) {
      if (open === 0) await redis.hdel(keyOf(holder), node);
      else await redis.hset(keyOf(holder), node, open);
    },
    async rejoin(redis) {
      const former = node;
      node = randomUUID();
      await redis.zrem(nodesKey, former);
      await redis.eval(BEAT, 1, nodesKey, node, SILENT_MS_MAX);
      const holders = [...opens.keys()];
      for (let from = 0; from < holders.length; from += REJOIN_BATCH) {
        // Each number as it is when it is sent: changes since are sent after it.
        await Promise.all(
          holders.slice(from, from + REJOIN_BATCH).flatMap((holder) => {
            const key = keyOf(holder);
            return [redis.hset(key, node, opens.get(holder) ?? 0), redis.expire(key, KEY_SECONDS)];
          }),
        );
      }
    },
    beat: async (redis) => (await redis.eval(BEAT, 1, nodesKey, node, SILENT_MS_MAX)) === 1,
    leave: async (redis) => void (await redis.zrem(nodesKey, node)),
  };
}
