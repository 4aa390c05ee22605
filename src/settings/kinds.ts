// The kinds of settings: how each is read from a variable, refused, and told in the table. Secrets are never repeated.

/** What some defaults depend on. */
export interface Deployment {
  readonly devMode: boolean;
  /** Keys of tokens come from a JWKS. */
  readonly hasIssuer: boolean;
  readonly embedded: boolean;
}

export interface Setting<T> {
  readonly env: string;
  /** What values are, bounds included. */
  readonly type: string;
  /** The default, in words. */
  readonly told: string;
  readonly meaning: string;
  readonly isSecret: boolean;
  /** Throws the fault; an empty variable counts as absent. */
  read(value: string | undefined, deployment: Deployment): T;
}

interface TextSpec<T> {
  readonly meaning: string;
  readonly fallback: (deployment: Deployment) => T;
  readonly told: string;
  readonly pattern?: Pick<RegExp, "test">;
  /** What the pattern asks, in words. */
  readonly says?: string;
  /** Throws what the pattern can't tell. */
  readonly check?: (value: string) => unknown;
  readonly isSecret?: boolean;
}

export function text<T extends string | undefined>(env: string, spec: TextSpec<T>): Setting<string | T> {
  const { meaning, fallback, told, pattern = /^.{1,4096}$/s, says = "text", isSecret = false } = spec;
  const read = (value: string | undefined, deployment: Deployment) => {
    if (value === undefined) return fallback(deployment);
    if (!pattern.test(value)) {
      // A password in a URL is no less secret for the URL being wrong.
      const shown = value.replace(/\/\/[^/]*@/, "//…@");
      fail(isSecret ? `takes ${says}` : `takes ${says}, not "${shown}"`);
    }
    spec.check?.(value);
    return value;
  };
  return { env, type: says, told, meaning, isSecret, read };
}

export function list(env: string, spec: TextSpec<readonly string[]>): Setting<readonly string[]> {
  const { meaning, fallback, told, says } = spec;
  const one = text(env, { ...spec, fallback: () => undefined });
  const read = (value: string | undefined, deployment: Deployment) => {
    if (value === undefined) return fallback(deployment);
    return value.split(",").map((part) => one.read(part.trim(), deployment) ?? "");
  };
  return { env, type: says ?? "a list", told, meaning, isSecret: false, read };
}

interface PairsSpec<T> {
  readonly meaning: string;
  readonly key: RegExp;
  /** Undefined: not a value. */
  readonly value: (text: string) => T | undefined;
  readonly says: string;
}

/** `key=value`, separated by commas. */
export function pairs<T>(
  env: string,
  { meaning, key, value, says }: PairsSpec<T>,
): Setting<ReadonlyMap<string, T>> {
  const read = (text: string | undefined) => {
    const found = new Map<string, T>();
    for (const part of text?.split(",") ?? []) {
      const [, name = "", given = ""] = /^([^=]*)=(.*)$/s.exec(part.trim()) ?? [];
      const read = value(given);
      if (!key.test(name) || read === undefined) return fail(`takes ${says}, not "${part.trim()}"`);
      if (found.has(name)) fail(`names ${name} twice`);
      found.set(name, read);
    }
    return found;
  };
  return { env, type: says, told: "none", meaning, isSecret: false, read };
}

export function integer(
  env: string,
  { meaning, fallback, min, max }: { meaning: string; fallback: number; min: number; max: number },
): Setting<number> {
  const type = `${min} … ${max.toLocaleString("en")}`;
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : fail(`takes a whole number ${type}, not "${value}"`);
  };
  return { env, type, told: String(fallback), meaning, isSecret: false, read };
}

/** 0: no limit. In dev mode none holds: there anyone may be anyone, and all call from one address. */
export function limit(env: string, what: string, fallback: number): Setting<number> {
  const spec = { meaning: `${what}; 0: no limit.`, fallback, min: 0, max: 999_999_999 };
  const { read, told, ...setting } = integer(env, spec);
  return {
    ...setting,
    told: `${told}; 0 in dev mode`,
    read: (value, deployment) => read(value ?? (deployment.devMode ? "0" : undefined), deployment),
  };
}

export function flag(env: string, { meaning }: { meaning: string }): Setting<boolean> {
  const read = (value: string | undefined) => {
    if (value !== undefined && !/^[01]$/.test(value)) fail(`takes 1 or 0, not "${value}"`);
    return isOn(value);
  };
  return { env, type: "1 or 0", told: "0", meaning, isSecret: false, read };
}

export function oneOf<const T extends string>(
  env: string,
  { meaning, choices, fallback }: { meaning: string; choices: readonly T[]; fallback: NoInfer<T> },
): Setting<T> {
  const type = choices.join(", ");
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    return choices.find((choice) => choice === value) ?? fail(`takes one of ${type}, not "${value}"`);
  };
  return { env, type, told: `\`${fallback}\``, meaning, isSecret: false, read };
}

export function isOn(value: string | undefined): boolean {
  return value === "1";
}

export function fail(fault: string): never {
  throw new Error(fault);
}
