// Where temporary folders go: into memory where /dev/shm has room, which spares a database its disk.
import { access, constants, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";

const TEMPORARY = "tidemark-test-";
const ROOMY_BYTES = 4 * 2 ** 30;

/** A temporary folder's name begins so: with the process it belongs to, so that a later run can clear up after a killed one. */
export function temporaryPrefix(pid: number): string {
  return `${TEMPORARY}${pid}-`;
}

/** The process that made a temporary folder; undefined when the name isn't one. */
export function makerOf(name: string): number | undefined {
  const pid = Number.parseInt(name.slice(TEMPORARY.length), 10);
  return name.startsWith(TEMPORARY) && pid > 0 ? pid : undefined;
}

/** Where temporary folders should be made. */
export async function temporaryParent(): Promise<string> {
  try {
    await access("/dev/shm", constants.W_OK);
    const { bavail, bsize } = await statfs("/dev/shm");
    return bavail * bsize >= ROOMY_BYTES ? "/dev/shm" : tmpdir();
  } catch {
    return tmpdir();
  }
}
