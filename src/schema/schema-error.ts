// Faults of a team's schema: gathered, told all at once, each with its place and what to do about it.
import type { DescEnum, DescField, DescFile, DescMessage, DescOneof } from "@bufbuild/protobuf";

export interface SchemaFault {
  readonly file: string;
  /** From 1; undefined where the descriptor set was made without source info. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** What is wrong and what to do. */
  readonly message: string;
}

export class SchemaError extends Error {
  override readonly name = "SchemaError";
  /** By file and place. */
  readonly faults: readonly SchemaFault[];

  constructor(faults: readonly SchemaFault[], options?: ErrorOptions) {
    const sorted = faults.toSorted(byPlace);
    super(sorted.map(faultLine).join("\n"), options);
    this.faults = sorted;
  }
}

function byPlace(a: SchemaFault, b: SchemaFault): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

function faultLine({ file, line, column, message }: SchemaFault): string {
  return `${[file, line, column].filter((part) => part !== undefined).join(":")}: ${message}`;
}

/** The number of every option of Tidemark's, in file, message and field options alike. */
export const OPTION_NUMBER = 73291;

type Place = DescFile | DescMessage | DescField | DescOneof | DescEnum;

/** Gathers faults while a schema is read. */
export interface Faults {
  /** @param option numbers below the place's Tidemark option; absent: the place itself. */
  add(place: Place, message: string, option?: readonly number[]): void;
  readonly found: readonly SchemaFault[];
}

export function collectFaults(): Faults {
  const found: SchemaFault[] = [];
  const add = (place: Place, message: string, option?: readonly number[]) => {
    const fault = { ...locate(place, option), message };
    if (!found.some((known) => faultLine(known) === faultLine(fault))) found.push(fault);
  };
  return { add, found };
}

function locate(place: Place, option: readonly number[] | undefined): Omit<SchemaFault, "message"> {
  const file = fileOf(place);
  const optionField = place.kind === "field" || place.kind === "file" ? 8 : 7;
  const path = [...pathOf(place), ...(option === undefined ? [] : [optionField, OPTION_NUMBER, ...option])];
  const spans = new Map(file.proto.sourceCodeInfo?.location.map(({ path, span }) => [path.join(), span]));
  for (let length = path.length; length > 0; length--) {
    const prefix = path.slice(0, length);
    // Elements of a list written as one have the first one's place.
    const [line, column] = spans.get(prefix.join()) ?? spans.get([...prefix.slice(0, -1), 0].join()) ?? [];

    if (line !== undefined && column !== undefined) {
      return { file: file.proto.name, line: line + 1, column: column + 1 };
    }
  }
  return { file: file.proto.name, line: undefined, column: undefined };
}

function fileOf(place: Place): DescFile {
  if (place.kind === "file") return place;
  return place.kind === "field" || place.kind === "oneof" ? place.parent.file : place.file;
}

/** The place's path as SourceCodeInfo has it: alternating field numbers and indexes, from the file down. */
function pathOf(place: Place): number[] {
  switch (place.kind) {
    case "file":
      return [];
    case "field":
      return [...pathOf(place.parent), 2, place.parent.proto.field.indexOf(place.proto)];
    case "oneof":
      return [...pathOf(place.parent), 8, place.parent.proto.oneofDecl.indexOf(place.proto)];
    case "enum":
      return place.parent === undefined
        ? [5, place.file.proto.enumType.indexOf(place.proto)]
        : [...pathOf(place.parent), 4, place.parent.proto.enumType.indexOf(place.proto)];
    case "message":
      return place.parent === undefined
        ? [4, place.file.proto.messageType.indexOf(place.proto)]
        : [...pathOf(place.parent), 3, place.parent.proto.nestedType.indexOf(place.proto)];
  }
}
