// How many streams are open at once: per node, and per principal and address on all nodes together while Redis is
// there, else on this one. A stream that is let in holds a slot until it is released, however it ends.
import { type Caller, keyOf, type LimitSettings, type Refusal } from "./limit.ts";
import type { RedisLink } from "./redis-link.ts";
import type { Open, StreamRegister } from "./stream-register.ts";

/** A stream's place. */
export interface Slot {
  /** Gives it back. Idempotent. */
  release(): void;
}

export interface OpenStreams {
  readonly count: number;
  /** A slot, or the limit that is over; none is held then. */
  open(caller: Caller): Promise<Slot | Refusal>;
}

export interface OpenStreamsOptions {
  readonly settings: LimitSettings;
  /** What each holder has open on this node: kept here, read by the register. */
  readonly opens: Map<string, number>;
  /** Absent: there is no Redis. */
  readonly shared?: { readonly link: RedisLink; readonly register: StreamRegister } | undefined;
}

interface Held extends Open {
  readonly per: "principal" | "address";
}

/** Streams end when they like; a client that comes back that late does no harm, and finds a place as likely as any. */
const RETRY_AFTER_MS = 10_000;

export function createOpenStreams({ settings, opens, shared }: OpenStreamsOptions): OpenStreams {
  const { streamsPerNodeMax, streamsPerPrincipalMax, streamsPerAddressMax } = settings;
  let count = 0;
  return {
    get count() {
      return count;
    },
    async open(caller) {
      if (streamsPerNodeMax > 0 && count >= streamsPerNodeMax) return refused("node", streamsPerNodeMax);
      const holders = holdersOf(caller);
      const over = holders.find(({ open, max }) => open > max);
      if (over) return refused(over.per, over.max);
      // Taken before anyone is asked: streams that open meanwhile see it.
      count++;
      for (const { holder, open } of holders) opens.set(holder, open);
      const elsewhere = holders.length > 0 ? await refusedElsewhere(holders) : undefined;
      if (elsewhere === undefined) return slotOf(holders);
      giveBack(holders);
      return refused(elsewhere.per, elsewhere.max);
    },
  };

  function holdersOf(caller: Caller): Held[] {
    const held = (per: Held["per"], key: string | undefined, max: number): Held[] => {
      const holder = `${per}:${key}`;
      return key === undefined || max === 0 ? [] : [{ per, holder, max, open: (opens.get(holder) ?? 0) + 1 }];
    };
    return [
      ...held("principal", keyOf("Principal", caller), streamsPerPrincipalMax),
      ...held("address", keyOf("Address", caller), streamsPerAddressMax),
    ];
  }

  async function refusedElsewhere(holders: readonly Held[]): Promise<Held | undefined> {
    if (shared === undefined) return undefined;
    const { link, register } = shared;
    const answer = await link.ask(async () => ({ over: await register.raise(link.redis, holders) }));
    return answer?.over === undefined ? undefined : holders[answer.over];
  }

  function slotOf(holders: readonly Held[]): Slot {
    let isHeld = true;
    return {
      release() {
        if (isHeld) giveBack(holders);
        isHeld = false;
      },
    };
  }

  function giveBack(holders: readonly Held[]): void {
    count--;
    for (const { holder } of holders) {
      const open = (opens.get(holder) ?? 0) - 1;
      if (open > 0) opens.set(holder, open);
      else opens.delete(holder);
      if (shared)
        void shared.link.ask(() => shared.register.lower(shared.link.redis, holder, Math.max(0, open)));
    }
  }
}

function refused(per: string, value: number): Refusal {
  return { limit: "open_streams", per, value, retryAfterMs: RETRY_AFTER_MS };
}
