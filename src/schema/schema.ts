// The schema: a team's descriptor set read as collections, grants and types, or refused with every fault it has.
import {
  create,
  createFileRegistry,
  type DescFile,
  type DescMessage,
  type FileRegistry,
  hasOption,
  type Registry,
} from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Validator } from "@bufbuild/protovalidate";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { collection as collectionOption } from "#gen/tidemark/v1/schema_pb.js";
import { invariant } from "../model/invariant.ts";
import { checkMerges } from "./check-merge.ts";
import type { Collection } from "./collection.ts";
import { collectionFingerprint, schemaFingerprint } from "./fingerprint.ts";
import { type CollectionDraft, readCollection } from "./read-collection.ts";
import { type ClaimGrant, readClaimGrants } from "./read-scopes.ts";
import { shapeReader } from "./read-shape.ts";
import { faultOfRules, recordRules, schemaValidator } from "./record-rules.ts";
import { collectFaults, type Faults, SchemaError } from "./schema-error.ts";
import { reachable } from "./shape.ts";
import { stripForClients } from "./strip.ts";

export interface Schema {
  readonly collections: ReadonlyMap<string, Collection>;
  /** Of all that clients see of it. */
  readonly fingerprint: string;
  /** The types clients see: no hidden fields, no Tidemark options. */
  readonly registry: Registry;
  /** The files of `registry`, imports first: what reflection may show. */
  readonly files: readonly DescFile[];
  readonly claimGrants: readonly ClaimGrant[];
}

/**
 * Pure; `set` stays as it is. Faults have lines where the set has source info.
 * @throws SchemaError with every fault.
 */
export function readSchema(set: FileDescriptorSet): Schema {
  const genuine = withGenuineRules(set);
  const own = registryOf(genuine);
  const faults = collectFaults();
  const shapes = shapeReader(faults);
  const claimGrants = [...own.files].flatMap((file) => readClaimGrants(file, faults));
  const drafts = messagesOf(own).flatMap((message) => {
    const draft = readCollection(message, { shapes, faults });
    return draft === undefined ? [] : [{ message, draft }];
  });
  checkAsWhole(own, drafts, faults);
  if (faults.found.length > 0) throw new SchemaError(faults.found);
  const registry = registryOf(stripForClients(genuine));
  const validator = schemaValidator(registry);
  checkRules(drafts, { registry, validator, faults });
  if (faults.found.length > 0) throw new SchemaError(faults.found);
  const finished = drafts.map(({ draft }) => finish(draft, { registry, validator, claimGrants }));
  return {
    collections: new Map(finished.map((collection) => [collection.name, collection])),
    fingerprint: schemaFingerprint(finished.map(({ name, message }) => [name, message])),
    registry,
    files: [...registry.files],
    claimGrants,
  };
}

/** Folders are compiled against a text of protovalidate's rules without their own definitions. */
function withGenuineRules(set: FileDescriptorSet): FileDescriptorSet {
  const genuine = file_buf_validate_validate.proto;
  return create(FileDescriptorSetSchema, {
    file: set.file.map((file) => (file.name === genuine.name ? genuine : file)),
  });
}

function registryOf(set: FileDescriptorSet): FileRegistry {
  try {
    return createFileRegistry(set);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const file = set.file.at(-1)?.name ?? "the descriptor set";
    const fault = { file, line: undefined, column: undefined, message: `can't be read: ${message}` };
    throw new SchemaError([fault], { cause: error });
  }
}

/** Those with the collection option, in the order of files and declarations. */
function messagesOf(registry: FileRegistry): DescMessage[] {
  const nested = (message: DescMessage): DescMessage[] => [
    message,
    ...message.nestedMessages.flatMap(nested),
  ];
  const all = [...registry.files].flatMap((file) => file.messages.flatMap(nested));
  return all.filter((message) => hasOption(message, collectionOption));
}

interface Drafted {
  readonly message: DescMessage;
  readonly draft: CollectionDraft;
}

function checkAsWhole(registry: FileRegistry, drafts: readonly Drafted[], faults: Faults): void {
  const last = [...registry.files].at(-1);
  if (drafts.length === 0 && faults.found.length === 0 && last !== undefined) {
    faults.add(last, "no message has the option (tidemark.v1.collection): give it to those that are records");
  }
  const known = new Map<string, DescMessage>();
  for (const { message, draft } of drafts) {
    const other = known.get(draft.name);
    if (other === undefined) known.set(draft.name, message);
    else {
      const problem = `${message.name} and ${other.name} are both the collection "${draft.name}"`;
      faults.add(message, `${problem}: one message declares a collection`, [1]);
    }
  }
  checkMerges(
    drafts.map(({ draft }) => draft),
    faults,
  );
}

interface Whole {
  readonly registry: FileRegistry;
  readonly validator: Validator;
}

function checkRules(
  drafts: readonly Drafted[],
  { registry, validator, faults }: Whole & { faults: Faults },
): void {
  const messages = new Set(drafts.flatMap(({ draft }) => reachable(draft.shape).map(({ desc }) => desc)));
  for (const message of messages) {
    const visible = registry.getMessage(message.typeName);
    // Of a type only hidden fields need no rule is ever asked.
    const fault = visible && faultOfRules(validator, visible);
    if (fault === undefined) continue;
    const advice = "mend it; rules can't name HIDDEN fields";
    faults.add(message, `a validation rule of ${message.name} can't be compiled (${fault}): ${advice}`);
  }
}

function visibleOf({ typeName }: DescMessage, registry: FileRegistry): DescMessage {
  const visible = registry.getMessage(typeName);
  invariant(visible, "no record is stripped");
  return visible;
}

function finish(draft: CollectionDraft, whole: Whole & { claimGrants: readonly ClaimGrant[] }): Collection {
  const { registry, validator, claimGrants } = whole;
  const message = visibleOf(draft.shape.desc, registry);
  const visible = new Map(message.fields.map((desc) => [desc.number, desc]));
  const fields = draft.fields.map((field) => ({ ...field, desc: visible.get(field.number) ?? field.desc }));
  const open = new Set(claimGrants.filter(({ anonymous }) => anonymous).map(({ scope }) => scope.text));
  return {
    ...draft,
    message,
    fields,
    fieldsByNumber: new Map(fields.map((field) => [field.number, field])),
    isPublic: draft.scopes.some(({ text, slots }) => slots.length === 0 && open.has(text)),
    fingerprint: collectionFingerprint(draft),
    registry,
    rules: recordRules(validator, message),
  };
}
