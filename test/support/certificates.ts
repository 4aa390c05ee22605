// Certificates for tests: authorities, what they sign, and the files a server reads them from.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generate } from "selfsigned";
import type { TlsSettings } from "../../src/edge/certificates.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** Both in PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export async function authority(name: string): Promise<KeyPair> {
  const made = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [{ name: "basicConstraints", cA: true, critical: true }],
  });
  return { cert: made.cert, key: made.private };
}

/** For this machine's addresses, as a server's or a client's. */
export async function signed(by: KeyPair, name: string, notAfterDate?: Date): Promise<KeyPair> {
  const made = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    ca: by,
    ...(notAfterDate && { notBeforeDate: new Date(notAfterDate.getTime() - 86_400_000), notAfterDate }),
    extensions: [
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
  });
  return { cert: made.cert, key: made.private };
}

/** Settings whose files hold these; removed after the test. */
export async function tlsFiles({ cert, key }: KeyPair, clientCa?: string): Promise<TlsSettings> {
  const folder = await temporaryFolder();
  const fileOf = async (name: string, content: string) => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  return {
    certFile: await fileOf("cert.pem", cert),
    keyFile: await fileOf("key.pem", key),
    clientCaFile: clientCa === undefined ? undefined : await fileOf("clients.pem", clientCa),
    minVersion: "1.2",
  };
}
