// Devices that push: each has a hundred todos of its own, so that none meets another's conflicts, and edits them in
// turn, always from the values it has made last. Calls are made before they are timed.
import { randomUUID } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Double, Int32 } from "mongodb";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import type { Mutation } from "../src/model/mutation.ts";

const TODOS = 100;
const CHANGED = [2, 4];
const NOTES =
  "The tide comes in and the tide goes out, and each time the line it leaves on the sand tells how far.";

export interface Edit {
  readonly recordId: string;
  readonly before: Edited;
  readonly after: Edited;
}

interface Edited {
  readonly title: string;
  readonly done: boolean;
}

export class Device {
  /** Of the principal, who has no other device. */
  readonly name: string;
  #edits = 0;

  constructor(n: number) {
    this.name = `device-${n}`;
  }

  /** About 300 bytes each. */
  todos(): { _id: string }[] {
    return Array.from({ length: TODOS }, (_, n) => ({
      _id: this.#recordId(n),
      ...editedBy(0),
      notes: NOTES,
      priority: "NORMAL",
      due: new Date(1_800_000_000_000 + n * 1000),
      tags: ["outdoors", "sea"],
      votes: new Int32(n),
      place: { name: "Praia da Adraga", lat: new Double(38.8), lng: new Double(-9.5) },
      ownerId: this.name,
      createdAt: new Date(1_790_000_000_000),
    }));
  }

  /** The next ones; whoever asks applies them, all and in order. */
  edits(count: number): Edit[] {
    return Array.from({ length: count }, () => {
      const round = Math.floor(this.#edits / TODOS);
      const recordId = this.#recordId(this.#edits % TODOS);
      this.#edits += 1;
      return { recordId, before: editedBy(round), after: editedBy(round + 1) };
    });
  }

  #recordId(n: number): string {
    return `${this.name}-todo-${String(n).padStart(3, "0")}`;
  }
}

/** In PROTO form, with its base: what a generated client sends. */
export function mutationOf({ recordId, before, after }: Edit): Mutation {
  return {
    mutationId: randomUUID(),
    collection: "todos",
    recordId,
    madeAtMs: Date.now(),
    madeAfter: 0n,
    expectedVersion: 0,
    kind: {
      case: "update",
      record: { form: "PROTO", bytes: bytesOf(after) },
      changed: CHANGED,
      base: { form: "PROTO", bytes: bytesOf(before) },
    },
  };
}

/** The same, as it goes over the wire. */
export function wireMutationOf({ recordId, before, after }: Edit): MessageInitShape<typeof MutationSchema> {
  const proto = (edited: Edited) => ({ form: { case: "proto" as const, value: bytesOf(edited) } });
  return {
    mutationId: randomUUID(),
    collection: "todos",
    recordId,
    kind: { case: "update", value: { record: proto(after), changed: CHANGED, base: proto(before) } },
  };
}

function bytesOf(edited: Edited): Uint8Array<ArrayBuffer> {
  return toBinary(TodoSchema, create(TodoSchema, edited));
}

function editedBy(round: number): Edited {
  return { title: `Look how far the tide has come, time ${round}`, done: round % 2 === 1 };
}
