/** What the modules of a session have in common. */

import { type AGBError, ToolError } from './errors.js'
import { type CallOptions, limitsOf } from './options.js'
import { failed, type Outcome, type Settled, settle } from './outcome.js'
import type { BoolResult, OperationResult } from './results.js'
import { callTool, type SessionLike, type ToolAnswer } from './tool-call.js'

type ToolErrorClass = new (message: string, extra: Record<string, unknown>) => ToolError

/**
 * The base of a session's modules.
 *
 * @example
 * ```ts
 * class Notes extends BaseService {
 *   read() {
 *     return this.callMcpTool('read_file', { path: '/home/user/notes.txt' })
 *   }
 * }
 * const notes = await new Notes(session).read()
 * ```
 */
export class BaseService<Throws extends boolean = false> {
  // Private to the engine, so that it is not shown when a module is printed: a session holds secrets.
  readonly #session: SessionLike
  /** As what a tool's failure is thrown. @internal */
  protected get errorClass(): ToolErrorClass {
    return ToolError
  }

  /** @param session is what the module belongs to. */
  constructor(session: SessionLike) {
    this.#session = session
  }

  /** The session that the module belongs to. */
  protected get session(): SessionLike {
    return this.#session
  }

  /** What may be shown of it. @example `JSON.stringify(session.code)` */
  toJSON(): Record<string, unknown> {
    return { sessionId: this.session.getSessionId() }
  }

  /**
   * Calls any tool. `data` is its text.
   *
   * @param readTimeout is milliseconds for the whole call, as `options.timeoutMs`, which goes before it.
   * @param _connectTimeout is taken for the official package's sake.
   *
   * @example
   * ```ts
   * const { data } = await session.command.callMcpTool('shell', { command: 'id' })
   * ```
   */
  callMcpTool(
    name: string,
    args: Record<string, unknown>,
    readTimeout?: number,
    _connectTimeout?: number,
    options: CallOptions = {},
  ): Promise<Outcome<OperationResult, Throws>> {
    const limits = limitsOf(readTimeout, options)
    return this.attempt<OperationResult>(limits, async () => {
      const { requestId, text } = await this.tool(name, args, limits)
      return { requestId, success: true, data: text }
    })
  }

  /** @internal */
  protected tool(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer> {
    return callTool(this.session, name, args, options)
  }

  /** Whether failures are thrown. @internal */
  protected get throwOnError(): boolean {
    return this.session.getClient().throwOnError
  }

  /** Does `work`; a failure is thrown, or becomes a result with the members of `rest`. @internal */
  protected attempt<R extends Settled>(
    options: CallOptions | undefined,
    work: () => Promise<R>,
    ...rest: Record<never, never> extends Omit<R, keyof Settled> ? [] : [Omit<R, keyof Settled>]
  ): Promise<Outcome<R, Throws>> {
    const failure = (error: AGBError): R => ({ ...rest[0], ...failed(error) }) as unknown as R
    return settle<R, Throws>(this.throwOnError, options, work, failure, (error) => this.translate(error))
  }

  /** A tool that is done or not. @internal */
  protected bool(
    name: string,
    args: Record<string, unknown>,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.attempt<BoolResult>(options, async () => {
      const { requestId, text } = await this.tool(name, args, options)
      return { requestId, success: true, data: text.trim().toLowerCase() === 'true' }
    })
  }

  /** A tool's failure as the error of this module. @internal */
  protected translate(error: AGBError): AGBError {
    const { message, extra } = error
    return error.constructor === ToolError ? new this.errorClass(message, extra) : error
  }
}
