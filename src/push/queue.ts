// Mutations waiting to be pushed, in lanes: those of a principal's device keep their order. Gives groups of what has
// arrived, fairly: each lane in its turn, a slice at a time. What is on its way blocks its lane and its records, so that
// no two groups wait for each other. Bounded; knows nothing of what pushing is.
import { invariant } from "../model/invariant.ts";
import type { Lane, RecordRef } from "./ticket.ts";

/** What is pushed as one. */
export interface Unit {
  readonly lane: Lane;
  readonly refs: readonly RecordRef[];
  readonly mutations: number;
  readonly bytes: number;
  /** Is pushed with no other. */
  readonly alone: boolean;
}

/** Mutations of a group: enough to make a transaction cheap, few enough to be done in well under a second. */
export const GROUP_MUTATIONS_MAX = 500;
/** Of records in a group; a unit may be larger, alone. */
const GROUP_BYTES_MAX = 4 * 2 ** 20;
/** Mutations of one lane before others have their turn. */
const SLICE = 100;

export interface QueueLimits {
  /** Waiting and under way. */
  readonly mutationsMax: number;
  /** Of what waits and is under way. */
  readonly bytesMax: number;
  /** Mutations of one lane that wait. */
  readonly laneMutationsMax: number;
}

export class PushQueue<U extends Unit> {
  readonly #limits: QueueLimits;
  readonly #lanes = new Map<Lane, U[]>();
  readonly #underWay = new Map<Lane | RecordRef, number>();
  #mutations = 0;
  #bytes = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** The limit these units of one lane would break; undefined: there is room. */
  fullFor(units: readonly U[]): keyof QueueLimits | undefined {
    const [first] = units;
    const mutations = sum(units, ({ mutations }) => mutations);
    const waiting = first ? sum(this.#lanes.get(first.lane) ?? [], ({ mutations }) => mutations) : 0;
    if (waiting + mutations > this.#limits.laneMutationsMax) return "laneMutationsMax";
    if (this.#mutations + mutations > this.#limits.mutationsMax) return "mutationsMax";
    return this.#bytes + sum(units, ({ bytes }) => bytes) > this.#limits.bytesMax ? "bytesMax" : undefined;
  }

  add(units: readonly U[]): void {
    for (const unit of units) {
      const waiting = this.#lanes.get(unit.lane);
      if (waiting) waiting.push(unit);
      else this.#lanes.set(unit.lane, [unit]);
      this.#count(unit, 1);
    }
  }

  /** Those of one lane that still wait will not be given. Returns how many did. */
  remove(units: ReadonlySet<U>): number {
    const [first] = units;
    const waiting = first && this.#lanes.get(first.lane);
    if (first === undefined || waiting === undefined) return 0;
    const [removed, kept] = [
      waiting.filter((unit) => units.has(unit)),
      waiting.filter((unit) => !units.has(unit)),
    ];
    for (const unit of removed) this.#count(unit, -1);
    if (kept.length > 0) this.#lanes.set(first.lane, kept);
    else this.#lanes.delete(first.lane);
    return removed.length;
  }

  /** The next group, from now on under way; empty: nothing can go. */
  take(): U[] {
    const group: U[] = [];
    const room: Room = { mutations: GROUP_MUTATIONS_MAX, bytes: GROUP_BYTES_MAX };
    const own = new Set<Lane | RecordRef>();
    const reserved = new Set<RecordRef>();
    for (let took = true; took; ) {
      took = false;
      for (const lane of [...this.#lanes.keys()]) {
        const slice = this.#takeSlice(lane, { group, room, own, reserved });
        took ||= slice;
        if (group.at(-1)?.alone) return group;
      }
    }
    return group;
  }

  /** It is over, however it ended: its lane and records are free again. */
  done(unit: U): void {
    this.#count(unit, -1);
    for (const name of [unit.lane, ...unit.refs]) {
      const count = (this.#underWay.get(name) ?? 0) - 1;
      invariant(count >= 0, "what is done was under way");
      if (count > 0) this.#underWay.set(name, count);
      else this.#underWay.delete(name);
    }
  }

  #takeSlice(lane: Lane, taking: Taking<U>): boolean {
    const { group, room, own } = taking;
    const waiting = this.#lanes.get(lane);
    invariant(waiting, "a lane is there as long as something waits in it");
    let taken = 0;
    while (taken < Math.min(waiting.length, SLICE)) {
      const unit = waiting[taken];
      if (unit === undefined || !this.#fits(unit, taking)) break;
      for (const name of [unit.lane, ...unit.refs]) {
        own.add(name);
        this.#underWay.set(name, (this.#underWay.get(name) ?? 0) + 1);
      }
      room.mutations -= unit.mutations;
      room.bytes -= unit.bytes;
      group.push(unit);
      taken++;
      if (unit.alone) break;
    }
    if (taken === 0) return false;
    waiting.splice(0, taken);
    // Behind the others: they have their turn first.
    this.#lanes.delete(lane);
    if (waiting.length > 0) this.#lanes.set(lane, waiting);
    return true;
  }

  #fits(unit: U, { group, room, own, reserved }: Taking<U>): boolean {
    const isTaken = (name: Lane | RecordRef) => this.#underWay.has(name) && !own.has(name);
    if (isTaken(unit.lane)) return false;
    if (unit.refs.some((ref) => isTaken(ref) || (reserved.has(ref) && !own.has(ref)))) {
      // Else one that needs several records might wait for ever: each time one is free, another isn't.
      for (const ref of unit.refs) reserved.add(ref);
      return false;
    }
    if (group.length === 0) return true;
    return !unit.alone && unit.mutations <= room.mutations && unit.bytes <= room.bytes;
  }

  #count({ mutations, bytes }: U, sign: 1 | -1): void {
    this.#mutations += sign * mutations;
    this.#bytes += sign * bytes;
  }
}

interface Room {
  mutations: number;
  bytes: number;
}

interface Taking<U> {
  readonly group: U[];
  readonly room: Room;
  /** Lanes and records of the group itself. */
  readonly own: Set<Lane | RecordRef>;
  /** Records that a lane further ahead waits for. */
  readonly reserved: Set<RecordRef>;
}

function sum<U>(units: readonly U[], of: (unit: U) => number): number {
  return units.reduce((total, unit) => total + of(unit), 0);
}
