/** Where the server is and how long it may take: what was passed, else the environment, else `.env`, else the default. */

import { readEnv } from './dot-env.js'
import { InvalidArgumentError } from './errors.js'

/** Where the server is and how long it may take. */
export interface Config {
  /** Scheme, host and port, such as `http://127.0.0.1:8080`. Without a scheme it is `https`. */
  endpoint: string
  /** Milliseconds that a request may take that has no timeout of its own. */
  timeoutMs: number
}

/** A configuration of which parts are left to the environment. */
export interface ConfigOptions {
  /** As in `Config`; otherwise `AGB_ENDPOINT`. */
  endpoint?: string
  /** As in `Config`; otherwise `AGB_TIMEOUT_MS`. 0 counts as absent. */
  timeoutMs?: number
}

/**
 * What is used where nothing else is said.
 *
 * @example
 * ```ts
 * console.log(defaultConfig().timeoutMs) // 60000
 * ```
 */
export function defaultConfig(): Config {
  return { endpoint: 'sdk-api.agb.cloud', timeoutMs: 60_000 }
}

/**
 * The configuration as a client would find it.
 *
 * @param customConfig goes before everything else, member by member.
 * @param customEnvPath is read instead of the nearest `.env`.
 *
 * @example
 * ```ts
 * const { endpoint } = loadConfig({ timeoutMs: 5000 })
 * ```
 */
export function loadConfig(customConfig?: ConfigOptions, customEnvPath?: string): Config {
  return resolveConfig(customConfig, variables(customEnvPath))
}

/** The environment, and below it the `.env` file. */
export function variables(envFile?: string): (name: string) => string | undefined {
  let file: Record<string, string> | undefined = envFile === undefined ? undefined : readEnv(envFile)
  return (name) => {
    const set = process.env[name]
    if (set) return set
    file ??= readEnv()
    return file[name] || undefined
  }
}

export function resolveConfig(
  options: ConfigOptions | undefined,
  variable: (name: string) => string | undefined,
): Config {
  const preset = defaultConfig()
  return {
    endpoint: options?.endpoint || variable('AGB_ENDPOINT') || preset.endpoint,
    timeoutMs: options?.timeoutMs || milliseconds(variable('AGB_TIMEOUT_MS')) || preset.timeoutMs,
  }
}

function milliseconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isFinite(value) && value >= 0) return value
  throw new InvalidArgumentError(
    `\`AGB_TIMEOUT_MS\` is ${JSON.stringify(text)}; allowed: a number of milliseconds`,
  )
}
