// The algorithms tokens may be signed by. A secret and a set of public keys have none in common, so that no public key
// ever serves as a secret; `none` is in neither.

/** Of the shared secret. */
export const SECRET_ALGORITHM = "HS256";

/** Of key sets. */
export const KEY_SET_ALGORITHMS: readonly string[] = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

export const TOKEN_ALGORITHMS: readonly string[] = [SECRET_ALGORITHM, ...KEY_SET_ALGORITHMS];

interface KeySettings {
  readonly tokenSecret: string | undefined;
  readonly jwksUrl: string | undefined;
  readonly jwksFile: string | undefined;
  readonly tokenAlgorithms: readonly string[];
}

/** What is wrong between the algorithms allowed and the keys there are; undefined: nothing. */
export function algorithmsFault(settings: KeySettings): string | undefined {
  const { tokenSecret, jwksUrl, jwksFile, tokenAlgorithms } = settings;
  const ofKeySets = KEY_SET_ALGORITHMS.some((algorithm) => tokenAlgorithms.includes(algorithm));
  if (tokenSecret !== undefined && !tokenAlgorithms.includes(SECRET_ALGORITHM)) {
    return `without ${SECRET_ALGORITHM}, TIDEMARK_TOKEN_SECRET is good for nothing: allow the one, or unset the other`;
  }
  if ((jwksUrl ?? jwksFile) !== undefined && !ofKeySets) {
    return `allow one that keys of a JWKS can have, such as ${KEY_SET_ALGORITHMS[0]}: ${SECRET_ALGORITHM} never is`;
  }
  return undefined;
}
