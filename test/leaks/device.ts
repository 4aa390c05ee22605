// A device of a history: calls as one principal with whatever token it has at the time, keeps the cursors it was given,
// and tries others' and altered ones. It believes whatever it is told: what it may know is the checker's business.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Cursor } from "#gen/tidemark/v1/cursor_pb.js";
import type { ListChangesRequestSchema } from "#gen/tidemark/v1/list_changes_pb.js";
import { type PullChangesResponse, PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import type { Random } from "../support/random.ts";
import type { Caller } from "./book.ts";
import type { Cast, Mutation } from "./cast.ts";
import { type About, DOORS, Line, PAGE_DOORS } from "./doors.ts";
import { ANONYMOUS, tokenFor, type World } from "./world.ts";
import type { Writer } from "./writer.ts";

export interface DeviceOptions {
  readonly world: World;
  readonly cast: Cast;
  readonly random: Random;
  /** Undefined: without a token. */
  readonly principal: string | undefined;
  readonly name: string;
  readonly isService: boolean;
  readonly writer: Writer;
}

/** A cursor, and how far back what it says goes. */
interface Held {
  readonly cursor: Cursor | undefined;
  readonly born: bigint;
  readonly scopesSince: readonly string[];
}

const PAGES_MAX = 8;
const FRAMES_MAX = 200;

export class Device {
  readonly options: DeviceOptions;
  /** Of the token it has now, to each node. */
  lines: readonly Line[] = [];
  /** What it pushed, to push again. */
  readonly pushed: Mutation[] = [];
  readonly #all: Line[] = [];
  readonly #held: Held[] = [];

  constructor(options: DeviceOptions) {
    this.options = options;
  }

  /** Gets a token, with other claims than the one before. */
  async rotate(): Promise<void> {
    const { world, cast, random, principal, isService, name } = this.options;
    const teams = cast.teams.filter(() => random.below(4) === 0);
    const token = principal === undefined ? undefined : await tokenFor({ principal, teams, isService });
    const caller = principal === undefined ? ANONYMOUS : callerOf(principal, teams, isService);
    const { book } = world;
    const { connections } = cast;
    this.lines = world.urls.map((url) => new Line({ url, book, connections, caller, token, device: name }));
    this.#all.push(...this.lines);
  }

  line(): Line {
    return this.options.random.of(this.lines);
  }

  about(kind: About["kind"], held: Held = this.#fresh()): About {
    const { born, scopesSince } = held;
    return { kind, born, scopesSince, history: this.options.cast.seed };
  }

  /** Everything by one stream: to its end, or until it has followed some writes. */
  async pull(): Promise<void> {
    const { random, writer } = this.options;
    const line = this.line();
    const held = this.#choose(line.caller);
    const follows = random.below(2) === 0 && !writer.over.aborted;
    const request = {
      ...this.#selection(held),
      mode: follows ? PullMode.FOLLOW : PullMode.CATCH_UP,
      maxTotalBytes: random.of([0n, 0n, 0n, 1n, 200n]),
      heartbeatInterval: { seconds: 1n },
    };
    const upTo = writer.clocks.length + random.below(4);
    let cursor = held.cursor;
    let frames = 0;
    const about = { ...this.about("stream", held), until: follows ? writer.over : undefined };
    for await (const response of line.pull(request, random.of(DOORS), about)) {
      cursor = moved(cursor, response);
      const clock = response.frame.case === "checkpoint" ? response.frame.value.commitClock : undefined;
      const isFollowed = clock !== undefined && clock >= (writer.clocks[upTo] ?? FAR);
      if (++frames > FRAMES_MAX || (follows && isFollowed)) break;
      if (follows && random.below(40) === 0) break;
    }
    // Broken off before it was given one, it may have come with another's: that is still the other's.
    if (cursor !== held.cursor) this.#keep(held, cursor, line.caller);
  }

  /** Everything by pages. */
  async list(): Promise<void> {
    const { random } = this.options;
    const line = this.line();
    const door = random.of(PAGE_DOORS);
    let held = this.#choose(line.caller);
    for (let page = 0; page < PAGES_MAX; page++) {
      const request: MessageInitShape<typeof ListChangesRequestSchema> = this.#selection(held);
      if (random.below(6) === 0) request.wait = { nanos: 20_000_000 };
      const about = this.about("page", held);
      const response = await line.unary(SyncService.method.listChanges, request, { door, about });
      if (response?.cursor === undefined) return;
      held = this.#keep(held, response.cursor, line.caller);
      if (response.frames.at(-1)?.frame.case === "checkpoint") return;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((line) => line.close()));
  }

  #selection({ cursor }: Held) {
    const { random } = this.options;
    const collections = random.of([[], [], ["notes"], ["papers", "members"], ["notes", "boards", "none"]]);
    return {
      selections: collections.map((collection) => ({ collection })),
      maxBatchBytes: random.of([0n, 1n, 150n]),
      options: {
        wholeRecords: random.below(4) === 0,
        recordForm: random.of([RecordForm.UNSPECIFIED, RecordForm.PROTO, RecordForm.JSON]),
      },
      ...(cursor && { cursor }),
    };
  }

  #fresh(): Held {
    return { cursor: undefined, born: this.options.world.book.floor, scopesSince: [] };
  }

  /** A cursor to come with: its own, last or older, true or altered; another's; none. */
  #choose({ principal }: Caller): Held {
    const { random, cast } = this.options;
    const own = random.below(3) === 0 ? random.of([...this.#held, this.#fresh()]) : this.#held.at(-1);
    const fresh = this.#fresh();
    switch (random.below(10)) {
      case 0:
      case 1:
        return fresh;
      case 2: {
        const others = cast.cursors.filter((each) => each.principal !== principal);
        return others.length ? { ...fresh, cursor: random.of(others).cursor } : fresh;
      }
      case 3:
      case 4: {
        const { cursor } = own ?? fresh;
        if (!own || !cursor) return fresh;
        const lie = () => BigInt(random.below(Number(cursor.position) + 2));
        return { ...own, cursor: { ...cursor, position: lie(), checkpoint: lie() } };
      }
      case 5: {
        const { cursor } = own ?? fresh;
        if (!cursor) return fresh;
        const at = random.below(cursor.subscription.length + 1);
        const subscription = `${cursor.subscription.slice(0, at)}A${cursor.subscription.slice(at + 1)}`;
        const isSame = subscription === cursor.subscription;
        return { ...((isSame && own) || fresh), cursor: { ...cursor, subscription } };
      }
      default:
        return own ?? fresh;
    }
  }

  #keep(before: Held, cursor: Cursor | undefined, { scopes, principal }: Caller): Held {
    const held = { ...before, cursor, scopesSince: [...new Set([...before.scopesSince, ...scopes])] };
    this.#held.push(held);
    if (cursor) this.options.cast.cursors.push({ principal, cursor });
    return held;
  }
}

const FAR = 2n ** 62n;

function callerOf(principal: string, teams: readonly string[], isService: boolean): Caller {
  const scopes = [`user:${principal}`, ...teams.map((team) => `team:${team}`), ...ANONYMOUS.scopes];
  return { principal, scopes, isService };
}

function moved(cursor: Cursor | undefined, { frame }: PullChangesResponse): Cursor | undefined {
  if (frame.case === "opened") return frame.value.cursor;
  if (cursor === undefined) return undefined;
  if (frame.case === "batch") return { ...cursor, position: frame.value.position };
  if (frame.case !== "checkpoint") return cursor;
  return { ...cursor, position: frame.value.position, checkpoint: frame.value.position };
}
