// A bounded number of long-lived sessions for transactions, registered in the database before their first use, so
// that other nodes can end what a killed one left open (see orphans.ts). A session is used again only when its
// transaction is known to have ended; otherwise a fresh one, registered first, takes its place.
import type { ClientSession, MongoClient } from "mongodb";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";
import { NodeRegistration, type RegistrationOptions } from "./node-registration.ts";

export interface SessionPoolOptions extends RegistrationOptions {
  /** Sessions, and so transactions at once, at most. */
  readonly size: number;
}

export interface SessionPool {
  /** Under which it is registered. */
  readonly id: string;
  /**
   * A session with no transaction in it, in the order of asking, as soon as one is free. Each must be given back.
   * @throws the signal's reason; SyncError SHUTTING_DOWN once the pool closes.
   */
  acquire(signal: AbortSignal): Promise<ClientSession>;
  /** Gives a session back whose transaction has ended. One that the driver calls dirty is retired. */
  release(session: ClientSession): void;
  /** Gives a session back whose transaction may be open, or be worked in until `over` settles: it is not used again. */
  retire(session: ClientSession, over: Promise<unknown>): void;
  /** Refuses whoever waits, waits for what is in use, and takes the registration back. Never throws. */
  close(): Promise<void>;
}

/** @throws what the database throws on the first registration. */
export async function openSessionPool(options: SessionPoolOptions): Promise<SessionPool> {
  const sessions = Array.from({ length: options.size }, () => options.client.startSession());
  try {
    return new Pool(options.client, await NodeRegistration.open(options, sessions), sessions);
  } catch (error) {
    for (const session of sessions) await session.endSession();
    throw error;
  }
}

interface Waiter {
  take(session: ClientSession): void;
  refuse(reason: unknown): void;
}

class Pool implements SessionPool {
  readonly id: string;
  readonly #client: MongoClient;
  readonly #registration: NodeRegistration;
  readonly #size: number;
  readonly #idle: ClientSession[];
  readonly #busy = new Set<ClientSession>();
  readonly #waiters = new Set<Waiter>();
  readonly #unused = Promise.withResolvers<void>();
  /** Not retired. */
  #live: number;
  #retired = 0;
  #closed: Promise<void> | undefined;

  constructor(client: MongoClient, registration: NodeRegistration, sessions: readonly ClientSession[]) {
    this.id = registration.id;
    this.#client = client;
    this.#registration = registration;
    this.#size = sessions.length;
    this.#idle = [...sessions];
    this.#live = sessions.length;
  }

  acquire(signal: AbortSignal): Promise<ClientSession> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(shuttingDown());
    const idle = this.#idle.pop();
    if (idle) return Promise.resolve(this.#lend(idle));
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        take(session) {
          leave();
          resolve(session);
        },
        refuse(reason) {
          leave();
          reject(reason);
        },
      };
      const onAbort = () => waiter.refuse(signal.reason);
      this.#waiters.add(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  release(session: ClientSession): void {
    if (session.inTransaction() || session.serverSession.isDirty) {
      this.retire(session, Promise.resolve());
      return;
    }
    this.#takeBack(session);
    this.#offer(session);
  }

  retire(session: ClientSession, over: Promise<unknown>): void {
    this.#takeBack(session);
    this.#live -= 1;
    this.#retired += 1;
    this.#refill();
    void this.#registration.remove(session, over).then(() => {
      this.#retired -= 1;
      this.#refill();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    for (const waiter of [...this.#waiters]) waiter.refuse(shuttingDown());
    if (this.#busy.size > 0) await this.#unused.promise;
    await this.#registration.close();
  }

  /** As many retired sessions as there may be live ones: work that never ends must not add up. */
  #refill(): void {
    while (
      this.#closed === undefined &&
      this.#live < this.#size &&
      this.#live + this.#retired < 2 * this.#size
    ) {
      this.#live += 1;
      const session = this.#client.startSession();
      void this.#registration.add(session).then(() => this.#offer(session));
    }
  }

  #offer(session: ClientSession): void {
    const [waiter] = this.#waiters;
    if (!waiter) {
      this.#idle.push(session);
      return;
    }
    waiter.take(this.#lend(session));
  }

  #lend(session: ClientSession): ClientSession {
    this.#busy.add(session);
    this.#registration.begin();
    return session;
  }

  #takeBack(session: ClientSession): void {
    invariant(this.#busy.delete(session), "a session is given back once");
    this.#registration.end();
    if (this.#closed !== undefined && this.#busy.size === 0) this.#unused.resolve();
  }
}

function shuttingDown(): SyncError {
  return new SyncError("SHUTTING_DOWN", "the server is shutting down; try again");
}
