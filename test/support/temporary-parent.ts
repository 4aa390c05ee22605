// Where temporary folders go: into memory where /dev/shm has room, which spares a database its disk.
import { access, constants, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";

const ROOMY_BYTES = 4 * 2 ** 30;

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
