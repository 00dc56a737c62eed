/** The way in: makes, finds and ends sessions. */

import { Client } from './client.js'
import { type Config, type ConfigOptions, resolveConfig, variables } from './config.js'
import { ContextService } from './context/service.js'
import { contextsArrived } from './context/session-context.js'
import { AGBError, APIError, AuthenticationError, InvalidArgumentError, messageOf } from './errors.js'
import { isObject, listOf, numberOf, objectOf, present, textOf } from './json.js'
import { begin } from './limits.js'
import { logWarn } from './log.js'
import type { CallOptions } from './options.js'
import { failed, type Outcome, type Settled, settle } from './outcome.js'
import type {
  DeleteResult,
  GetSessionData,
  GetSessionResult,
  SessionListResult,
  SessionResult,
} from './results.js'
import { Session, statusOf } from './session.js'
import { type CreateSessionParamsOptions, creation } from './session-params.js'
import { getSdkVersion, isReleaseVersion } from './version.js'

/** With what an `AGB` is made. What is absent comes from the environment, else from `.env`. */
export interface AGBOptions<Throws extends boolean = boolean> {
  /** The API key; otherwise `AGB_API_KEY`. */
  apiKey?: string
  /** Where the server is and how long it may take. */
  config?: ConfigOptions
  /** The file to read instead of the nearest `.env`. */
  envFile?: string
  /** Whether methods throw instead of giving results with `success: false`. */
  throwOnError?: Throws
}

const LISTED = 10

/**
 * Makes, finds and ends sessions.
 *
 * @example
 * ```ts
 * const agb = new AGB()
 * const { session } = await agb.create(new CreateSessionParams({ imageId: 'agb-code-space-1' }))
 *
 * // With errors instead of results, which also says in types that there is a session.
 * const throwing = new AGB({ throwOnError: true })
 * const { session: certain } = await throwing.create({ imageId: 'agb-code-space-1' })
 * ```
 */
export class AGB<Throws extends boolean = false> {
  /** Where the server is and how long it may take. */
  readonly config: Config
  /** The API as it is on the wire. */
  readonly client: Client
  /** Contexts: storage that outlives sessions. */
  readonly context: ContextService<Throws>

  /** @param options are the API key alone, or more. */
  constructor(options: AGBOptions<Throws> | string = {}) {
    const given: AGBOptions = typeof options === 'string' ? { apiKey: options } : options
    const variable = variables(given.envFile)
    const apiKey = (given.apiKey || variable('AGB_API_KEY') || '').trim()
    if (apiKey === '') {
      throw new AuthenticationError(
        'no API key: pass one to `new AGB`, or set `AGB_API_KEY` in the environment or in `.env`',
      )
    }
    this.config = resolveConfig(given.config, variable)
    this.client = new Client(this.config, { apiKey, throwOnError: given.throwOnError ?? false })
    this.context = new ContextService(this)
  }

  /** The API key. A secret. */
  get apiKey(): string {
    return this.client.apiKey
  }

  /**
   * Makes a session, and waits until its contexts are there.
   *
   * @example
   * ```ts
   * const created = await agb.create(new CreateSessionParams({ imageId: 'agb-code-space-1' }))
   * if (!created.success) throw new Error(created.errorMessage)
   * ```
   */
  create(
    params?: CreateSessionParamsOptions | null,
    options?: CallOptions,
  ): Promise<Outcome<SessionResult<Throws>, Throws>> {
    return this.#attempt<SessionResult<Throws>>(
      options,
      async () => {
        const { imageId, body } = creation(params)
        const limits = begin(options)
        const query = { imageId, sdkStats: JSON.stringify(sdkStats()) }
        const { requestId, data } = await this.client.createMcpSession(query, body, limits)
        const sessionId = textOf(objectOf(data).sessionId)
        if (sessionId === '') throw new APIError('SessionId not found in response', 200, { requestId })
        const session = new Session<Throws>(this, sessionId)._reachedBy(objectOf(data))
        session.imageId = imageId
        if ('persistenceDataList' in body) await this.#furnished(sessionId, limits)
        return { requestId, success: true, session }
      },
      () => ({ session: null }),
    )
  }

  /**
   * The sessions that have all these labels, the newest first.
   *
   * @param page counts from 1.
   * @param limit is how many a page has; 10 if absent.
   *
   * @example
   * ```ts
   * const { sessionIds, totalCount } = await agb.list({ project: 'demo' }, 1, 50)
   * ```
   */
  list(
    labels: Record<string, string> = {},
    page = 1,
    limit = LISTED,
    options?: CallOptions,
  ): Promise<Outcome<SessionListResult, Throws>> {
    return this.#attempt<SessionListResult>(
      options,
      async () => {
        if (!Number.isInteger(page) || page < 1) {
          throw new InvalidArgumentError(`Cannot reach page ${page}: \`page\` must be a whole number from 1`)
        }
        const limits = begin(options)
        let nextToken = ''
        for (let at = 1; ; at += 1) {
          const parameters = {
            maxResults: limit,
            nextToken: nextToken || undefined,
            labels: JSON.stringify(labels ?? {}),
          }
          const { requestId, data, body } = await this.client.listSessions(parameters, limits)
          nextToken = textOf(body.nextToken)
          const totalCount = numberOf(body.count)
          if (at === page) {
            const sessionIds = listOf(data).map((item) => textOf(objectOf(item).sessionId))
            const maxResults = numberOf(body.maxResults) || limit
            const found = sessionIds.filter((id) => id !== '')
            return { requestId, success: true, sessionIds: found, nextToken, maxResults, totalCount }
          }
          if (nextToken === '') {
            throw new AGBError(`Cannot reach page ${page}: No more pages available`, {
              requestId,
              totalCount,
            })
          }
        }
      },
      (error) => ({
        sessionIds: [],
        nextToken: '',
        maxResults: limit,
        totalCount: numberOf(error.extra.totalCount),
      }),
    )
  }

  /** Ends a session. @example `await agb.delete(session)` */
  delete(
    session: Session<Throws>,
    syncContext = false,
    options?: CallOptions,
  ): Promise<Outcome<DeleteResult, Throws>> {
    return session.delete(syncContext, options)
  }

  /** Where a session is reached. @example `const { data } = await agb.getSession(id)` */
  getSession(sessionId: string, options?: CallOptions): Promise<Outcome<GetSessionResult, Throws>> {
    return this.#attempt<GetSessionResult>(
      options,
      async () => {
        const { requestId, httpStatusCode, code, data } = await this.#reached(sessionId, options)
        return { requestId, httpStatusCode, code, success: true, data: sessionData(data, sessionId) }
      },
      (error) => ({ httpStatusCode: statusOf(error), code: error.code }),
    )
  }

  /** Recovers a session by its id. @example `const { session } = await agb.get(id)` */
  get(sessionId: string, options?: CallOptions): Promise<Outcome<SessionResult<Throws>, Throws>> {
    return settle<SessionResult<Throws>, Throws>(
      this.client.throwOnError,
      options,
      async () => {
        const { requestId, data } = await this.#reached(sessionId, options)
        const session = new Session<Throws>(this, sessionId)._reachedBy(objectOf(data))
        return { requestId, success: true, session }
      },
      (error) => {
        const errorMessage = `Failed to get session ${sessionId}: ${error.message}`
        return { ...failed(error), session: null, errorMessage }
      },
    )
  }

  /** What may be shown of it: no secrets. @example `JSON.stringify(agb)` */
  toJSON(): Record<string, unknown> {
    return { endpoint: this.config.endpoint, timeoutMs: this.config.timeoutMs }
  }

  async #reached(sessionId: string, options: CallOptions | undefined) {
    if (!sessionId?.trim()) throw new InvalidArgumentError('`sessionId` is required')
    return this.client.getMcpSession({ sessionId }, options)
  }

  /** Waits for the contexts of a new session. Whoever does not get to know of it cannot end it. */
  async #furnished(sessionId: string, limits: CallOptions): Promise<void> {
    try {
      await contextsArrived(this.client, sessionId, limits)
    } catch (error) {
      this.client.deleteSessionAsync({ sessionId }).catch((thrown: unknown) => {
        logWarn(`the session ${sessionId} could not be released:`, messageOf(thrown))
      })
      throw error
    }
  }

  #attempt<R extends Settled>(
    options: CallOptions | undefined,
    work: () => Promise<R>,
    rest: (error: AGBError) => Omit<R, keyof Settled>,
  ): Promise<Outcome<R, Throws>> {
    return settle<R, Throws>(this.client.throwOnError, options, work, (error) => {
      return { ...rest(error), ...failed(error) } as unknown as R
    })
  }
}

function sdkStats(): Record<string, unknown> {
  return {
    source: 'sdk',
    sdk_language: 'typescript',
    sdk_version: getSdkVersion(),
    is_release: isReleaseVersion(),
  }
}

function sessionData(data: unknown, sessionId: string): GetSessionData {
  const said = isObject(data) ? data : {}
  return present<GetSessionData>({
    appInstanceId: textOf(said.appInstanceId),
    resourceId: textOf(said.resourceId),
    sessionId: textOf(said.sessionId) || sessionId,
    success: true,
    resourceUrl: textOf(said.resourceUrl),
    status: textOf(said.status),
    linkUrl: textOf(said.linkUrl) || undefined,
    wsUrl: textOf(said.wsUrl) || undefined,
    token: textOf(said.token) || undefined,
    toolList: textOf(said.toolList) || undefined,
  })
}
