// A record's story in plain words, for human eyes. The rules named are those the schema has now. What comes from
// clients is shown in one line, shortened, and can't steer the terminal.
import type { LedgerEntry } from "../model/ledger-entry.ts";
import type { Collection } from "../schema/collection.ts";
import { conflictLine } from "./conflict-words.ts";
import { plainText } from "./plain-text.ts";
import { type Left, OLDER_MAX, type RecordStory } from "./record-story.ts";

const FEEDS_SHOWN_MAX = 10;

export function storyLines(story: RecordStory): string[] {
  const { collection, recordId, mutations, older } = story;
  const count = mutations.length === 1 ? "1 mutation" : `${mutations.length} mutations`;
  const more =
    older === 0
      ? ""
      : `; ${older >= OLDER_MAX - mutations.length ? "over " : ""}${older} older not shown (--limit)`;
  const lines = [
    `${collection.name}/${recordId}`,
    "",
    ...nowLines(story).map((line) => `  ${line}`),
    "",
    mutations.length === 0
      ? "No mutations: nobody pushed to it, or so long ago that the receipts are gone."
      : `${count}, the oldest first${more}:`,
    ...mutations.flatMap((entry) => ["", ...mutationLines(collection, entry)]),
  ];
  return lines.map(plainText);
}

function nowLines(story: RecordStory): string[] {
  const { logged, left, quarantined } = story;
  const lines: string[] = [];
  if (logged !== undefined) {
    const { version, since } = logged;
    const from = since === version ? "" : `; created, or new to a feed, at version ${since}`;
    lines.push(`In the log: version ${version}${from}.`, feedsLine(logged.feeds));
    if (logged.marks.length > 0) {
      lines.push(
        `Changed since then: ${logged.marks.map(({ field, version }) => `${field} at ${version}`).join(", ")}.`,
      );
    }
  } else if (quarantined !== undefined) {
    lines.push(
      `In the log: quarantined since ${time(quarantined.atMs)}, because ${quarantined.reason}. Clients see it as deleted.`,
    );
  } else if (left.length > 0) lines.push("In the log: gone.");
  else lines.push("In the log: no such record.");
  lines.push(...leftLines(left), documentLine(story));
  return lines;
}

function feedsLine(feeds: readonly string[]): string {
  return feeds.length === 0 ? "In no feed: no client sees it." : `In ${named(feeds, "feed")}.`;
}

function leftLines(left: readonly Left[]): string[] {
  const shown = left.slice(0, FEEDS_SHOWN_MAX).map(({ feed, reason, version, atMs }) => {
    const how = reason === "DELETED" ? "It was deleted from" : "It left";
    return `${how} ${feed} at ${time(atMs)}, version ${version}.`;
  });
  const more = left.length - shown.length;
  return more > 0 ? [...shown, `… and ${more} more feeds.`] : shown;
}

function documentLine({ document, isInStep, isLoading, logAtMs }: RecordStory): string {
  const what =
    document === "absent"
      ? "there is none"
      : document === "record"
        ? "it is there"
        : `it is there, but no record: ${document.reason}`;
  if (isInStep) return `The document: ${what}, and the log has it so.`;
  const upTo = logAtMs === undefined ? "it hasn't begun" : `it has come to ${time(logAtMs)}`;
  const why = isLoading ? "the log is still reading the collection" : `the log lags behind: ${upTo}`;
  return `The document: ${what}; ${why}.`;
}

function mutationLines(collection: Collection, entry: LedgerEntry): string[] {
  const { receivedAtMs, principal, device, conflicts, receipt } = entry;
  const who = device === "" ? principal : `${principal} (${device})`;
  const violations = receipt.rejection?.violations ?? [];
  return [
    `${time(receivedAtMs)}  ${who}`,
    `  asked to ${asked(entry)}${madeAt(entry)}`,
    `  ${outcomeSentence(collection, entry)}`,
    ...conflicts.map((conflict) => `    ${conflictLine(collection, entry, conflict)}`),
    ...violations.map(({ path, message }) => `    ${path}: ${message}`),
  ];
}

function madeAt({ madeAtMs }: LedgerEntry): string {
  return madeAtMs === undefined ? "" : `, at ${time(madeAtMs)} by its own clock`;
}

function asked({ kind, fields }: LedgerEntry): string {
  const names = fields.map(({ name }) => name).join(", ");
  switch (kind) {
    case "create":
      return names === "" ? "create it" : `create it with ${names}`;
    case "update":
      return `change ${names === "" ? "fields the schema no longer shows" : names}`;
    case "delete":
      return "delete it";
  }
}

function outcomeSentence(collection: Collection, entry: LedgerEntry): string {
  const { receipt } = entry;
  switch (receipt.outcome) {
    case "APPLIED":
      return { create: "applied: created", update: "applied: written as asked", delete: "applied: deleted" }[
        entry.kind
      ];
    case "MERGED":
      return `merged: ${mergedSentence(collection, entry)}`;
    case "CONFLICT":
      return `conflict, nothing written: ${conflictSentence(entry)}`;
    case "REJECTED":
      return `rejected (${receipt.rejection?.reason ?? "no reason kept"}): ${receipt.rejection?.description ?? ""}`;
    case "NOT_ATTEMPTED":
      return "not attempted";
  }
}

function mergedSentence({ deletes }: Collection, { kind, conflicts }: LedgerEntry): string {
  if (kind === "delete") {
    return deletes === "EDIT_WINS"
      ? "kept, for it had been edited since, and an edit wins over a delete"
      : "deleted, and with it edits the client had not seen";
  }
  if (conflicts.length > 0) return "both sides had changed";
  return deletes === "EDIT_WINS"
    ? "the record had been deleted, and came back, for an edit wins over a delete"
    : "the edit met one the client had not seen, and a rule decided";
}

function conflictSentence({ kind, conflicts, receipt }: LedgerEntry): string {
  if (receipt.recordAbsent) return "there was no such record, as far as this principal could see";
  if (kind === "create") return "the record was there already, with other content";
  if (conflicts.length === 0) return "the record no longer had the version the client expected";
  return kind === "delete" ? "it had been edited since" : "it had been changed since";
}

function named(names: readonly string[], noun: string): string {
  const shown = names.slice(0, FEEDS_SHOWN_MAX).join(", ");
  const more = names.length > FEEDS_SHOWN_MAX ? ` and ${names.length - FEEDS_SHOWN_MAX} more` : "";
  return `the ${noun}${names.length === 1 ? "" : "s"} ${shown}${more}`;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
