/** What this package says about itself, on standard error. It never says keys, tokens or what was sent. */

/** How much is said. @example `setLogLevel(LogLevel.DEBUG)` */
export enum LogLevel {
  /** Everything. */
  DEBUG = 0,
  /** What happened. */
  INFO = 1,
  /** What went wrong and was not reported otherwise. */
  WARN = 2,
  /** What failed. */
  ERROR = 3,
  /** Nothing. */
  SILENT = 4,
}

const NAMES: Readonly<Record<string, LogLevel>> = {
  DEBUG: LogLevel.DEBUG,
  INFO: LogLevel.INFO,
  WARN: LogLevel.WARN,
  WARNING: LogLevel.WARN,
  ERROR: LogLevel.ERROR,
  SILENT: LogLevel.SILENT,
}

let current: LogLevel | undefined

/**
 * Says how much is said. The default is `AGB_LOG_LEVEL`, and `WARN` without it.
 *
 * @example
 * ```ts
 * setLogLevel(LogLevel.DEBUG)
 * ```
 */
export function setLogLevel(level: LogLevel): void {
  current = level
}

/**
 * How much is said.
 *
 * @example
 * ```ts
 * if (getLogLevel() === LogLevel.SILENT) console.log('quiet')
 * ```
 */
export function getLogLevel(): LogLevel {
  current ??= NAMES[(process.env.AGB_LOG_LEVEL ?? '').trim().toUpperCase()] ?? LogLevel.WARN
  return current
}

function say(level: LogLevel, message: string, args: unknown[]): void {
  if (level < getLogLevel()) return
  const rest = args.map((arg) => ` ${typeof arg === 'string' ? arg : JSON.stringify(arg)}`).join('')
  process.stderr.write(`[agb] ${LogLevel[level]} ${message}${rest}\n`)
}

/**
 * Says something for those who look for a fault.
 *
 * @example
 * ```ts
 * logDebug('polled', 3)
 * ```
 */
export function logDebug(message: string, ...args: unknown[]): void {
  say(LogLevel.DEBUG, message, args)
}

/**
 * Says what happened.
 *
 * @example
 * ```ts
 * logInfo('session made', session.getSessionId())
 * ```
 */
export function logInfo(message: string, ...args: unknown[]): void {
  say(LogLevel.INFO, message, args)
}

/**
 * Says what went wrong.
 *
 * @example
 * ```ts
 * logWarn('a sync failed')
 * ```
 */
export function logWarn(message: string, ...args: unknown[]): void {
  say(LogLevel.WARN, message, args)
}

/**
 * Says what failed.
 *
 * @example
 * ```ts
 * logError('no session')
 * ```
 */
export function logError(message: string, ...args: unknown[]): void {
  say(LogLevel.ERROR, message, args)
}
