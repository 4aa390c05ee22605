// A device among killed servers: pushes small requests, some atomic, some to both servers at once, some given up early;
// sends again, under the same ids, what had no answer, and now and then what had one long ago. Notes all it was told.
import { Code, ConnectError } from "@connectrpc/connect";
import { Outcome, type Receipt } from "#gen/tidemark/v1/receipt_pb.js";
import type { Random } from "../support/random.ts";
import { asPrincipal } from "../support/server.ts";
import { type Edit, firstContent, HALL, keyOfEdit, mutationOf, randomUpdate } from "./push-edits.ts";
import type { Puller, TakenBack } from "./push-puller.ts";
import { COLLECTIONS } from "./push-schema.ts";
import type { Life, Servers } from "./push-servers.ts";

/** A delivery of a receipt. */
export type Telling = Pick<Receipt, "outcome" | "replayed" | "commitClock" | "rejection">;

export interface Note {
  readonly edit: Edit;
  readonly tellings: Telling[];
}

export interface DeviceOptions {
  readonly name: string;
  readonly puller: Puller;
  readonly servers: Servers;
  readonly takenBack: TakenBack;
  readonly random: Random;
}

interface Request {
  readonly edits: readonly Edit[];
  readonly atomic: boolean;
}

/** A client can't know more of a call that a server's death broke; these it is told by living ones. */
const TO_BE_SENT_AGAIN = new Set([Code.Unavailable, Code.Aborted, Code.ResourceExhausted]);
/** A push that no server settles in this time is a fault by itself. */
const PUSH_MS_MAX = 60_000;
const AGAIN_AT_ONCE = 200;

export class Device {
  readonly notes = new Map<string, Note>();
  readonly faults: string[] = [];
  /** Requests, and deliveries of them that had no answer, went to both servers, or came again late. */
  readonly counts = { requests: 0, unanswered: 0, twice: 0, late: 0, givenUp: 0 };
  slowest = { ms: 0, story: "" };
  readonly #options: DeviceOptions;
  readonly #history: Request[] = [];
  readonly #own: string[] = [];
  readonly #headers: Record<string, string>;
  #madeAfter = 0n;
  #edits = 0;

  constructor(options: DeviceOptions) {
    this.#options = options;
    const client = `test/1.0.0; device=${options.name}`;
    this.#headers = { ...asPrincipal(options.puller.principal), "tidemark-client": client };
  }

  async pushUntil(isDone: () => boolean): Promise<void> {
    const { random } = this.#options;
    while (!isDone()) {
      const request = this.#randomRequest();
      this.#history.push(request);
      await this.#settle(request);
      if (random.below(8) === 0) await this.#sendLate(random.of(this.#history));
    }
  }

  /** All once more: nothing may come of it. */
  async pushAllAgain(): Promise<void> {
    const edits = [...this.notes.values()].map(({ edit }) => edit);
    for (let from = 0; from < edits.length; from += AGAIN_AT_ONCE) {
      await this.#settle({ edits: edits.slice(from, from + AGAIN_AT_ONCE), atomic: false });
    }
  }

  /** Sends until each mutation has its outcome. */
  async #settle(request: Request): Promise<void> {
    const { servers, random } = this.#options;
    const sentAt = performance.now();
    const story: string[] = [];
    this.counts.requests++;
    for (let left = request; left.edits.length > 0; ) {
      const life = await servers.pick(random);
      const pickedMs = Math.round(performance.now() - sentAt);
      const answers = await this.#deliver(left, life);
      const state = life.isKilled ? ", then killed" : "";
      story.push(`${pickedMs} ms: to ${life.name}${state}, ${answers.length} answers`);
      if (answers.length === 0) this.counts.unanswered++;
      const settled = new Set(answers.flatMap((answer) => settledOf(left, answer)));
      // The innocent of an atomic request are sent again, each for itself.
      const edits = left.edits.filter((edit) => !settled.has(edit));
      left = { edits, atomic: left.atomic && edits.length === left.edits.length && answers.length === 0 };
      if (performance.now() - sentAt > PUSH_MS_MAX) throw new Error("a push is never settled");
    }
    const ms = Math.round(performance.now() - sentAt);
    if (ms > this.slowest.ms) this.slowest = { ms, story: story.join("; ") };
  }

  async #sendLate(request: Request): Promise<void> {
    const { servers, random } = this.#options;
    this.counts.late++;
    await this.#deliver(request, await servers.pick(random));
  }

  /** One delivery, or two at once; gives what was answered. */
  async #deliver(request: Request, life: Life): Promise<(readonly Receipt[])[]> {
    const { servers, random } = this.#options;
    const other = random.below(6) === 0 ? servers.up().find((up) => up !== life) : undefined;
    const isImpatient = random.below(25) === 0;
    if (other) this.counts.twice++;
    if (isImpatient) this.counts.givenUp++;
    const timeoutMs = isImpatient ? 1 + random.below(15) : PUSH_MS_MAX;
    const lives = other ? [life, other] : [life];
    const answers = await Promise.all(lives.map((to) => this.#send(request, to, timeoutMs)));
    return answers.filter((answer) => answer !== undefined);
  }

  async #send(request: Request, life: Life, timeoutMs: number): Promise<readonly Receipt[] | undefined> {
    const { edits, atomic } = request;
    try {
      life.sent++;
      const pushed = await life.sync.pushMutations(
        { mutations: edits.map(mutationOf), atomic },
        { headers: this.#headers, timeoutMs },
      );
      life.answered++;
      this.#note(edits, pushed.receipts);
      if (pushed.commitClock > this.#madeAfter) this.#madeAfter = pushed.commitClock;
      return pushed.receipts;
    } catch (error) {
      const { code, message } = ConnectError.from(error);
      const isExpected =
        life.isKilled || TO_BE_SENT_AGAIN.has(code) || (code === Code.DeadlineExceeded && timeoutMs < 100);
      if (!isExpected) this.faults.push(`a living server answered ${Code[code]}: ${message}`);
      return undefined;
    }
  }

  #note(edits: readonly Edit[], receipts: readonly Receipt[]): void {
    const { effects } = this.#options.puller;
    for (const [index, edit] of edits.entries()) {
      const receipt = receipts[index];
      if (receipt?.mutationId !== edit.mutationId) {
        this.faults.push(`${edit.mutationId}: its receipt isn't where it was in the request`);
        continue;
      }
      const { outcome, replayed, commitClock, rejection } = receipt;
      this.notes.get(edit.mutationId)?.tellings.push({ outcome, replayed, commitClock, rejection });
      const isDone = outcome === Outcome.APPLIED || outcome === Outcome.MERGED;
      if (isFinal(outcome)) effects.told(edit.mutationId, isDone ? commitClock : undefined);
    }
  }

  #randomRequest(): Request {
    const { random, puller, takenBack } = this.#options;
    const edits = Array.from({ length: 1 + random.below(4) }, () => this.#randomEdit());
    for (const edit of edits) {
      this.notes.set(edit.mutationId, { edit, tellings: [] });
      if (edit.kind.case === "delete") takenBack.deletes.add(keyOfEdit(edit));
      if (edit.kind.case === "update") for (const tag of edit.kind.base.tags ?? []) takenBack.tags.add(tag);
      puller.effects.sent(edit.mutationId, (client) => puller.isShown(edit, client));
    }
    return { edits, atomic: random.below(5) === 0 };
  }

  #randomEdit(): Edit {
    const { random, puller } = this.#options;
    const kind = random.below(16);
    if (kind === 0) return this.#create();
    if (kind === 1 && this.#own.length > 0) return this.#delete(random.of(this.#own));
    // Of what there is now and what there was: the start's, one's own, others'.
    const keys = [...puller.known.keys(), ...puller.client.records.keys()];
    const key = random.of(random.below(2) ? startingKeys : keys);
    const seen = puller.see(key);
    if (seen === undefined) return this.#create();
    const name = this.#nextName();
    const isStrict = random.below(12) === 0;
    return this.#edit(key, randomUpdate(random, seen, name), isStrict ? seen.version : 0n);
  }

  #create(): Edit {
    const { random, puller } = this.#options;
    const name = this.#nextName();
    const key = `${random.of(COLLECTIONS)}/${name}`;
    this.#own.push(key);
    const content = firstContent(name, puller.principal, random.below(2) ? HALL : "");
    return this.#edit(key, { case: "create", content });
  }

  #delete(key: string): Edit {
    const { random, puller } = this.#options;
    const base = random.below(2) ? puller.see(key)?.json : undefined;
    return this.#edit(key, { case: "delete", base });
  }

  #edit(key: string, kind: Edit["kind"], expectedVersion = 0n): Edit {
    const collection = COLLECTIONS.find((name) => key.startsWith(`${name}/`));
    if (collection === undefined) throw new Error(`no collection of ${key}`);
    const recordId = key.slice(collection.length + 1);
    const mutationId = this.#options.random.uuid();
    return { mutationId, collection, recordId, madeAfter: this.#madeAfter, expectedVersion, kind };
  }

  #nextName(): string {
    return `${this.#options.name}.${++this.#edits}`;
  }
}

/** Records that are there from the start, and never deleted. */
export const startingKeys = COLLECTIONS.flatMap((name) =>
  [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `${name}/start-${n}`),
);

export function isFinal(outcome: Outcome): boolean {
  return outcome !== Outcome.NOT_ATTEMPTED && outcome !== Outcome.UNSPECIFIED;
}

function settledOf({ edits }: Request, answer: readonly Receipt[]): Edit[] {
  return edits.filter((_, index) => isFinal(answer[index]?.outcome ?? Outcome.UNSPECIFIED));
}
