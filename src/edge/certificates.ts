// The certificate files: read, checked against each other, and told what is wrong with them by the setting that names
// them. Never tells a byte of a key.
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContextOptions } from "node:tls";

/** The settings TLS_CERT_FILE, TLS_KEY_FILE, TLS_CLIENT_CA_FILE, TLS_MIN_VERSION. */
export interface TlsSettings {
  /** PEM: the server's certificate, then those between it and a root. */
  readonly certFile: string;
  /** PEM, without a passphrase. */
  readonly keyFile: string;
  /** PEM: who signs the certificates clients must present; undefined: they need none. */
  readonly clientCaFile: string | undefined;
  readonly minVersion: "1.2" | "1.3";
}

/** The files' content, unchecked. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
}

export interface Certificates {
  /** For handshakes to come. */
  readonly context: SecureContextOptions;
  readonly subject: string;
  readonly notAfter: Date;
}

/** A certificate file that can't be used: which, and why. */
class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/** @throws CertificateError for a file that can't be read. */
export async function readCertificateFiles(settings: TlsSettings): Promise<CertificateFiles> {
  const { certFile, keyFile, clientCaFile } = settings;
  const [cert, key, clientCa] = await Promise.all([
    readPem("TLS_CERT_FILE", certFile),
    readPem("TLS_KEY_FILE", keyFile),
    clientCaFile === undefined ? undefined : readPem("TLS_CLIENT_CA_FILE", clientCaFile),
  ]);
  return { cert, key, clientCa };
}

/** @throws CertificateError for what is no certificate, no key, or doesn't belong together. */
export function checkCertificates(
  files: CertificateFiles,
  minVersion: TlsSettings["minVersion"],
): Certificates {
  const leaf = certificatesIn("TLS_CERT_FILE", files.cert)[0];
  if (files.clientCa !== undefined) certificatesIn("TLS_CLIENT_CA_FILE", files.clientCa);
  const context: SecureContextOptions = {
    cert: files.cert,
    key: files.key,
    minVersion: `TLSv${minVersion}`,
    ...(files.clientCa !== undefined && { ca: files.clientCa }),
  };
  try {
    createSecureContext(context);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    const isMismatch = code === "ERR_OSSL_X509_KEY_VALUES_MISMATCH";
    const why = isMismatch
      ? "is not the key of TLS_CERT_FILE"
      : "holds no usable key in PEM without a passphrase";
    throw new CertificateError(`TLS_KEY_FILE: ${why}`, { cause });
  }
  return { context, subject: leaf.subject, notAfter: leaf.validToDate };
}

async function readPem(setting: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
    throw new CertificateError(`${setting}: can't read ${path} (${code})`, { cause });
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function certificatesIn(setting: string, pem: string): [X509Certificate, ...X509Certificate[]] {
  const [first, ...others] = pem.match(CERTIFICATE) ?? [];
  if (first === undefined) throw new CertificateError(`${setting}: holds no certificate in PEM`);
  try {
    return [new X509Certificate(first), ...others.map((one) => new X509Certificate(one))];
  } catch (cause) {
    throw new CertificateError(`${setting}: holds a certificate that can't be read`, { cause });
  }
}
