/**
 * One family of errors. With `new AGB({ throwOnError: true })` the methods throw them; otherwise results carry their
 * messages. Texts that come from the server are shown as they came: they name the field, the value and what is allowed.
 */

import { textOf } from './json.js'

/**
 * The base of all errors of this package.
 *
 * @example
 * ```ts
 * try {
 *   await session.command.execute('false')
 * } catch (error) {
 *   if (error instanceof AGBError) console.error(error.name, error.message, error.requestId)
 * }
 * ```
 */
export class AGBError extends Error {
  /** The name of the class, also where a bundler renamed it. */
  override name = 'AGBError'
  /** What else is known, by name. */
  readonly extra: Record<string, unknown>

  constructor(message = 'AGBError', extra: Record<string, unknown> = {}) {
    super(message, 'cause' in extra ? { cause: extra.cause } : undefined)
    this.extra = extra
  }

  /** Under which the server's log has the request; empty if no server was reached. */
  get requestId(): string {
    return textOf(this.extra.requestId)
  }

  /** The server's word for the refusal, such as `InvalidParameter`; empty if there was none. */
  get code(): string {
    return textOf(this.extra.code)
  }
}

/**
 * A refusal or a failure of the server that has no class of its own.
 *
 * @example
 * ```ts
 * if (error instanceof APIError && error.statusCode === 503) retryLater()
 * ```
 */
export class APIError extends AGBError {
  override name = 'APIError'
  /** The HTTP status, if an answer came. */
  readonly statusCode?: number

  constructor(message = 'API error', statusCode?: number, extra: Record<string, unknown> = {}) {
    super(message, extra)
    if (statusCode !== undefined) this.statusCode = statusCode
  }
}

/**
 * No API key was found, or the server does not accept it.
 *
 * @example
 * ```ts
 * if (error instanceof AuthenticationError) console.error('set AGB_API_KEY')
 * ```
 */
export class AuthenticationError extends AGBError {
  override name = 'AuthenticationError'
  constructor(message = 'Authentication failed', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * A value that is not allowed. The message names it and what is allowed.
 *
 * @example
 * ```ts
 * if (error instanceof InvalidArgumentError) fixTheCall()
 * ```
 */
export class InvalidArgumentError extends AGBError {
  override name = 'InvalidArgumentError'
  constructor(message = 'Invalid argument', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * The server could not be reached, or the connection broke. With `mayHaveHappened` what was asked for may have been done.
 *
 * @example
 * ```ts
 * if (error instanceof ConnectionError && !error.mayHaveHappened) await again()
 * ```
 */
export class ConnectionError extends AGBError {
  override name = 'ConnectionError'
  constructor(message = 'Connection failed', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }

  /** Whether the request had been sent. */
  get mayHaveHappened(): boolean {
    return this.extra.mayHaveHappened === true
  }
}

/**
 * There was no answer in time. What was asked for may have been done.
 *
 * @example
 * ```ts
 * if (error instanceof TimeoutError) console.error('after', error.timeoutMs, 'ms')
 * ```
 */
export class TimeoutError extends AGBError {
  override name = 'TimeoutError'
  constructor(message = 'Timed out', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }

  /** How long was waited, in milliseconds. */
  get timeoutMs(): number {
    return Number(this.extra.timeoutMs ?? 0)
  }
}

/**
 * The API key has reached one of its limits: sessions, memory, or creations a minute. `code` says which.
 *
 * @example
 * ```ts
 * if (error instanceof RateLimitError && error.code === 'QuotaExceeded.Sessions') await oldest.delete()
 * ```
 */
export class RateLimitError extends AGBError {
  override name = 'RateLimitError'
  constructor(message = 'Rate limit exceeded', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * The server has no room for another session now.
 *
 * @example
 * ```ts
 * if (error instanceof NoCapacityError) await tryAnotherServer()
 * ```
 */
export class NoCapacityError extends AGBError {
  override name = 'NoCapacityError'
  constructor(message = 'No capacity', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * Something about a session; the base of `SessionEndedError` and `SessionNotFoundError`.
 *
 * @example
 * ```ts
 * if (error instanceof SessionError) session = await newSession()
 * ```
 */
export class SessionError extends AGBError {
  override name = 'SessionError'
  constructor(message = 'Session error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }

  /** The session; empty if it is not known which. */
  get sessionId(): string {
    return textOf(this.extra.sessionId)
  }
}

/** Why a session ended. `unknown` is a reason that this version does not know; the message has it in words. */
export type EndReason =
  | 'released'
  | 'idle'
  | 'lifetime'
  | 'out-of-memory'
  | 'crashed'
  | 'server-stopped'
  | 'host-restarted'
  | 'key-revoked'
  | 'unknown'

/**
 * The session is over; `reason` says why.
 *
 * @example
 * ```ts
 * if (error instanceof SessionEndedError && error.reason === 'idle') session = await newSession()
 * ```
 */
export class SessionEndedError extends SessionError {
  override name = 'SessionEndedError'
  constructor(message = 'Session ended', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }

  /** Why it ended. */
  get reason(): EndReason {
    return endReason(this.message)
  }
}

/**
 * No session has this id, or it belongs to another API key.
 *
 * @example
 * ```ts
 * if (error instanceof SessionNotFoundError) console.error('no session', error.sessionId)
 * ```
 */
export class SessionNotFoundError extends SessionError {
  override name = 'SessionNotFoundError'
  constructor(message = 'Session not found', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * A tool refused its arguments or failed; the base of the errors of commands, code, files and the desktop.
 *
 * @example
 * ```ts
 * if (error instanceof ToolError) console.error(error.tool, 'said', error.message)
 * ```
 */
export class ToolError extends AGBError {
  override name = 'ToolError'
  constructor(message = 'Tool execution failed', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }

  /** The name of the tool. */
  get tool(): string {
    return textOf(this.extra.tool)
  }
}

/**
 * A file operation failed.
 *
 * @example
 * ```ts
 * if (error instanceof FileError) console.error(error.message)
 * ```
 */
export class FileError extends ToolError {
  override name = 'FileError'
  constructor(message = 'File operation error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * A command failed, or exited with another code than 0. `extra.result` is the whole `CommandResult`.
 *
 * @example
 * ```ts
 * if (error instanceof CommandError) console.error(error.extra.result)
 * ```
 */
export class CommandError extends ToolError {
  override name = 'CommandError'
  constructor(message = 'Command execution error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * Code raised an exception, timed out or was stopped. `extra.result` is the whole `EnhancedCodeExecutionResult`.
 *
 * @example
 * ```ts
 * if (error instanceof CodeError) console.error(error.message)
 * ```
 */
export class CodeError extends ToolError {
  override name = 'CodeError'
  constructor(message = 'Code execution error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * An application could not be started, stopped or listed.
 *
 * @example
 * ```ts
 * if (error instanceof ApplicationError) console.error(error.message)
 * ```
 */
export class ApplicationError extends ToolError {
  override name = 'ApplicationError'
  constructor(message = 'Application operation error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * The browser of a session failed. Its methods throw this also where results are wanted, as they have none.
 *
 * @example
 * ```ts
 * if (error instanceof BrowserError) console.error(error.message)
 * ```
 */
export class BrowserError extends ToolError {
  override name = 'BrowserError'
  constructor(message = 'Browser operation error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * The screen, mouse, keyboard or a window failed.
 *
 * @example
 * ```ts
 * if (error instanceof ScreenError) console.error(error.message)
 * ```
 */
export class ScreenError extends ToolError {
  override name = 'ScreenError'
  constructor(message = 'Screen operation error', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/**
 * Clearing a context took longer than allowed.
 *
 * @example
 * ```ts
 * if (error instanceof ClearanceTimeoutError) await agb.context.getClearStatus(id)
 * ```
 */
export class ClearanceTimeoutError extends AGBError {
  override name = 'ClearanceTimeoutError'
  constructor(message = 'Clearance task timed out', extra: Record<string, unknown> = {}) {
    super(message, extra)
  }
}

/** The server's sentences for the ends of sessions. */
const ENDS: ReadonlyArray<readonly [sentence: string, reason: EndReason]> = [
  ['it was released by its owner', 'released'],
  ['it was released because nobody used it for its idle timeout', 'idle'],
  ['it reached the lifetime limit of this server', 'lifetime'],
  ['it used all the memory that it may have', 'out-of-memory'],
  ['its guest process ended unexpectedly', 'crashed'],
  ['it was ended together with its server', 'server-stopped'],
  ['the machine was restarted, or its sandbox was removed from outside', 'host-restarted'],
  ['its API key was revoked or has expired', 'key-revoked'],
]

const ENDED = /^session `([^`]+)` not found or expired: /
const UNKNOWN = /^session `([^`]+)` not found: /

function endReason(message: string): EndReason {
  const said = message.replace(ENDED, '')
  return ENDS.find(([sentence]) => said.startsWith(sentence))?.[1] ?? 'unknown'
}

/** The error of a session that is gone, if that is what a text of the server says. */
export function goneSession(message: string, extra: Record<string, unknown>): SessionError | undefined {
  const ended = ENDED.exec(message)
  if (ended) return new SessionEndedError(message, { sessionId: ended[1], ...extra })
  const unknown = UNKNOWN.exec(message)
  return unknown ? new SessionNotFoundError(message, { sessionId: unknown[1], ...extra }) : undefined
}

/** The error of a refusal, by its code: the one place that knows the codes. */
export function refusal(status: number, code: string, message: string, requestId: string): AGBError {
  const extra = { code, requestId, statusCode: status }
  if (code === 'InvalidMcpSession.NotFound') {
    return goneSession(message, extra) ?? new SessionNotFoundError(message, extra)
  }
  if (code === 'InvalidApiKey' || status === 401) return new AuthenticationError(message, extra)
  if (code.startsWith('QuotaExceeded.') || status === 429) return new RateLimitError(message, extra)
  if (code === 'NoCapacity') return new NoCapacityError(message, extra)
  if (code === 'SessionTimeout') return new TimeoutError(message, extra)
  if (['InvalidParameter', 'InvalidImage.NotFound', 'MalformedBody', 'BodyTooLarge'].includes(code)) {
    return new InvalidArgumentError(message, extra)
  }
  return new APIError(message, status, extra)
}

/** What anything that was thrown says. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** Anything that was thrown, as one of the family. */
export function asError(thrown: unknown): AGBError {
  return thrown instanceof AGBError ? thrown : new AGBError(messageOf(thrown), { cause: thrown })
}
