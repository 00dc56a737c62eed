/** A session: an isolated computer, and what can be done with it. */

import type { AGB } from './agb.js'
import { Browser } from './browser/browser.js'
import type { Client } from './client.js'
import { Code } from './code.js'
import { Command } from './command.js'
import { Computer } from './computer/computer.js'
import { ContextManager } from './context/session-context.js'
import {
  type AGBError,
  APIError,
  AuthenticationError,
  InvalidArgumentError,
  messageOf,
  SessionError,
  TimeoutError,
} from './errors.js'
import { FileSystem } from './file-system.js'
import { isObject, type JsonObject, listOf, numberOf, objectOf, parseJson, textOf } from './json.js'
import { begin, isEnd, pause } from './limits.js'
import { logWarn } from './log.js'
import { type CallOptions, limitsOf } from './options.js'
import { failed, type Outcome, type Settled, settle } from './outcome.js'
import type {
  DeleteResult,
  McpTool,
  McpToolResult,
  McpToolsResult,
  OperationResult,
  SessionMetrics,
  SessionMetricsResult,
  SessionStatusResult,
} from './results.js'
import { WsClient } from './stream.js'
import { callTool, type SessionLike } from './tool-call.js'

/** How long a deletion may take, and how often is looked. */
const [DELETION_MS, LOOK_MS] = [300_000, 1000]

/**
 * A session. `AGB.create` makes one and `AGB.get` recovers one.
 *
 * @example
 * ```ts
 * const { session } = await agb.create(new CreateSessionParams({ imageId: 'agb-code-space-1' }))
 * const run = await session?.code.run('6 * 7', 'python')
 * await session?.delete()
 * ```
 */
export class Session<Throws extends boolean = false> implements SessionLike {
  /** The live view. A secret; `info` gives a fresh one. */
  resourceUrl = ''
  /** The image that it was made of; empty if it was recovered. */
  imageId = ''
  /** The id of what it runs in. */
  appInstanceId = ''
  /** The same, under its other name. */
  resourceId = ''
  /** Where its tools are called directly. */
  linkUrl = ''
  /** Its stream. */
  wsUrl = ''
  /** The credential for both. A secret. */
  token = ''
  /** JSON text of the tools that it has. */
  toolList = ''
  /** The tools of its image, once `listMcpTools` was called. */
  mcpTools: McpTool[] = []
  /** Shell commands. */
  readonly command: Command<Throws>
  /** Files. */
  readonly file: FileSystem<Throws>
  /** The same as `file`. */
  readonly fileSystem: FileSystem<Throws>
  /** Code. */
  readonly code: Code<Throws>
  /** The browser. */
  readonly browser: Browser<Throws>
  /** The desktop. */
  readonly computer: Computer<Throws>
  /** Contexts that are mounted. */
  readonly context: ContextManager<Throws>
  readonly #agb: AGB<Throws>
  readonly #sessionId: string
  readonly #stream: WsClient

  /** A session by its id. Without `AGB.get` it has no link and no stream; all else works. */
  constructor(agb: AGB<Throws>, sessionId: string) {
    this.#agb = agb
    this.#sessionId = sessionId
    this.#stream = new WsClient(this, () => this.wsUrl)
    this.command = new Command(this)
    this.file = new FileSystem(this)
    this.fileSystem = this.file
    this.code = new Code(this)
    this.browser = new Browser(this)
    this.computer = new Computer(this)
    this.context = new ContextManager(this)
  }

  /** The API key that it was made with. @example `session.getApiKey()` */
  getApiKey(): string {
    return this.#agb.apiKey
  }

  /** Its id. @example `const again = await agb.get(session.getSessionId())` */
  getSessionId(): string {
    return this.#sessionId
  }

  /** The client that it was made with. @example `session.getClient()` */
  getClient(): Client {
    return this.#agb.client
  }

  /** The `AGB` that it was made with. @example `session.getAgb()` */
  getAgb(): AGB<Throws> {
    return this.#agb
  }

  /** Where its tools are called directly. @example `session.getLinkUrl()` */
  getLinkUrl(): string {
    return this.linkUrl
  }

  /** Its stream. @example `session.getWsUrl()` */
  getWsUrl(): string {
    return this.wsUrl
  }

  /** The credential for both. @example `session.getToken()` */
  getToken(): string {
    return this.token
  }

  /** @internal */
  _getWsClient(): WsClient {
    return this.#stream
  }

  /** Takes what the server says of where it is reached. @internal */
  _reachedBy(data: JsonObject): this {
    this.appInstanceId = textOf(data.appInstanceId)
    this.resourceId = textOf(data.resourceId)
    this.resourceUrl = textOf(data.resourceUrl)
    this.linkUrl = textOf(data.linkUrl)
    this.wsUrl = textOf(data.wsUrl)
    this.token = textOf(data.token)
    this.toolList = typeof data.toolList === 'string' ? data.toolList : JSON.stringify(data.toolList ?? [])
    return this
  }

  /** Replaces its labels. @example `await session.setLabels({ project: 'demo' })` */
  setLabels(
    labels: Record<string, string>,
    options?: CallOptions,
  ): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      checkLabels(labels)
      const parameters = { sessionId: this.#sessionId, Labels: JSON.stringify(labels) }
      const { requestId } = await this.getClient().setLabel(parameters, options)
      return { requestId, success: true }
    })
  }

  /** Its labels, as an object in `data`. @example `const { data } = await session.getLabels()` */
  getLabels(options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const { requestId, data } = await this.getClient().getLabel({ sessionId: this.#sessionId }, options)
      const { labels } = objectOf(data)
      return {
        requestId,
        success: true,
        data: isObject(labels) ? labels : objectOf(parseJson(textOf(labels))),
      }
    })
  }

  /** Its live view and more, in `data`. @example `const { data } = await session.info()` */
  info(options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const { requestId, data } = await this.getClient().getMcpResource(
        { sessionId: this.#sessionId },
        options,
      )
      const { sessionId, resourceUrl, desktopInfo } = objectOf(data)
      return {
        requestId,
        success: true,
        data: { sessionId, resourceUrl, ...objectOf(desktopInfo) } satisfies SessionInfo,
      }
    })
  }

  /** The link to a port, in `data`. @example `const { data: url } = await session.getLink('https', 30100)` */
  getLink(
    protocolType?: string,
    port?: number,
    options?: CallOptions,
  ): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const parameters = { sessionId: this.#sessionId, protocolType: protocolType || undefined, port }
      const { requestId, data } = await this.getClient().getLink(parameters, options)
      const url = textOf(isObject(data) ? data.url : data)
      if (url === '') throw new APIError('the server named no link', 200, { requestId })
      return { requestId, success: true, data: url }
    })
  }

  /**
   * Ends it and waits until it is over.
   *
   * @param syncContext uploads its contexts first.
   *
   * @example
   * ```ts
   * await session.delete()
   * ```
   */
  delete(syncContext = false, options?: CallOptions): Promise<Outcome<DeleteResult, Throws>> {
    return this.#attempt<DeleteResult>(options, async () => {
      const limits = begin(options)
      if (syncContext) await this.#synced(limits)
      const { requestId } = await this.getClient().deleteSessionAsync({ sessionId: this.#sessionId }, limits)
      try {
        await this.#over(limits)
      } finally {
        this.#stream.close()
      }
      return { requestId, success: true }
    })
  }

  /** How it is. Does not count as use. @example `const { status } = await session.getStatus()` */
  getStatus(options?: CallOptions): Promise<Outcome<SessionStatusResult, Throws>> {
    return this.#attempt<SessionStatusResult>(
      options,
      async () => {
        const answer = await this.getClient().getSessionDetail({ sessionId: this.#sessionId }, options)
        const { status, Status } = objectOf(answer.data)
        const { requestId, httpStatusCode, code } = answer
        return { requestId, httpStatusCode, code, success: true, status: textOf(status) || textOf(Status) }
      },
      (error) => ({ httpStatusCode: statusOf(error), code: error.code, status: '' }),
    )
  }

  /** Begins its idle time anew. @example `await session.keepAlive()` */
  keepAlive(options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const { requestId } = await this.getClient().refreshSessionIdleTime(
        { sessionId: this.#sessionId },
        options,
      )
      return { requestId, success: true }
    })
  }

  /**
   * Calls any tool. `data` is its text.
   *
   * @param readTimeout is milliseconds for the whole call, as `options.timeoutMs`, which goes before it.
   * @param _connectTimeout is taken for the official package's sake.
   *
   * @example
   * ```ts
   * const { data } = await session.callMcpTool('shell', { command: 'id' })
   * ```
   */
  callMcpTool(
    toolName: string,
    args: Record<string, unknown>,
    readTimeout?: number,
    _connectTimeout?: number,
    options: CallOptions = {},
  ): Promise<Outcome<McpToolResult, Throws>> {
    return this.#attempt<McpToolResult>(options, async () => {
      const limits = limitsOf(readTimeout, options)
      const { requestId, text } = await callTool(this, toolName, args, limits)
      return { requestId, success: true, data: text }
    })
  }

  /** The tools of its image. @example `const { tools } = await session.listMcpTools()` */
  listMcpTools(imageId?: string, options?: CallOptions): Promise<Outcome<McpToolsResult, Throws>> {
    return this.#attempt<McpToolsResult>(
      options,
      async () => {
        const image = imageId || this.imageId
        if (image === '') {
          throw new InvalidArgumentError(
            '`imageId` is needed: this session was recovered, which does not tell its image',
          )
        }
        const { requestId, data } = await this.getClient().listMcpTools({ imageId: image }, options)
        const tools = listOf(typeof data === 'string' ? parseJson(data) : data)
          .filter(isObject)
          .map(toolOf)
        this.mcpTools = tools
        return { requestId, success: true, tools }
      },
      () => ({ tools: [] }),
    )
  }

  /**
   * What it uses.
   *
   * @param readTimeout is milliseconds for the whole call, as `options.timeoutMs`, which goes before it.
   * @param _connectTimeout is taken for the official package's sake.
   *
   * @example
   * ```ts
   * const { metrics } = await session.getMetrics()
   * console.log(metrics?.memUsed, 'of', metrics?.memTotal)
   * ```
   */
  getMetrics(
    readTimeout?: number,
    _connectTimeout?: number,
    options: CallOptions = {},
  ): Promise<Outcome<SessionMetricsResult, Throws>> {
    return this.#attempt<SessionMetricsResult>(options, async () => {
      const limits = limitsOf(readTimeout, options)
      const { requestId, text } = await callTool(this, 'get_metrics', {}, limits)
      const raw = parseJson(text)
      if (!isObject(raw))
        throw new APIError(`Failed to parse get_metrics response: ${text.slice(0, 200)}`, 200)
      return { requestId, success: true, metrics: metricsOf(raw), raw }
    })
  }

  /** What may be shown of it: no secrets. @example `JSON.stringify(session)` */
  toJSON(): Record<string, unknown> {
    const { imageId, appInstanceId, resourceId } = this
    return { sessionId: this.#sessionId, imageId, appInstanceId, resourceId }
  }

  /** The same for `console.log`. @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): Record<string, unknown> {
    return this.toJSON()
  }

  /** Uploads what contexts hold. The server does so again at the end if it has to, so a failure stops nothing. */
  async #synced(limits: CallOptions): Promise<void> {
    try {
      const done = await this.context.sync(
        undefined,
        undefined,
        undefined,
        undefined,
        undefined,
        undefined,
        limits,
      )
      if (!done.success) logWarn('the contexts could not be synchronised:', done.errorMessage)
    } catch (error) {
      if (isEnd(error, limits)) throw error
      logWarn('the contexts could not be synchronised:', messageOf(error))
    }
  }

  /** Looks until it is over. A look that fails says nothing about that, unless no other could succeed. */
  async #over(limits: CallOptions): Promise<void> {
    const { timeoutMs = DELETION_MS, since = performance.now(), ...aborted } = limits
    const deadline = since + timeoutMs
    while (performance.now() < deadline) {
      try {
        const { data } = await this.getClient().getSessionDetail({ sessionId: this.#sessionId }, limits)
        if (textOf(objectOf(data).status) === 'FINISH') return
      } catch (error) {
        if (error instanceof SessionError || /not found/i.test(messageOf(error))) return
        if (limits.signal?.aborted || error instanceof AuthenticationError) throw error
      }
      await pause(Math.min(LOOK_MS, Math.max(deadline - performance.now(), 0)), aborted)
    }
    throw new TimeoutError(`Timeout waiting for session deletion after ${timeoutMs / 1000}s`, { timeoutMs })
  }

  #attempt<R extends Settled>(
    options: CallOptions | undefined,
    work: () => Promise<R>,
    rest: (error: AGBError) => Omit<R, keyof Settled> = () => ({}) as Omit<R, keyof Settled>,
  ): Promise<Outcome<R, Throws>> {
    return settle<R, Throws>(this.getClient().throwOnError, options, work, (error) => {
      return { ...rest(error), ...failed(error) } as unknown as R
    })
  }
}

/** What `Session.info` has in its `data`. */
export interface SessionInfo {
  /** The session. */
  sessionId?: unknown
  /** The live view. A secret. */
  resourceUrl?: unknown
  /** Of the desktop: `appId`, `authCode`, `connectionProperties`, `resourceId`, `resourceType`, `ticket`. */
  [member: string]: unknown
}

/** The HTTP status of an answer that was a failure; 0 if none came. */
export function statusOf(error: AGBError): number {
  return numberOf(error.extra.statusCode)
}

function checkLabels(labels: unknown): asserts labels is Record<string, string> {
  const refuse = (why: string): never => {
    throw new InvalidArgumentError(why)
  }
  if (Array.isArray(labels)) refuse('Labels cannot be an array. Please provide a valid labels object.')
  if (!isObject(labels)) {
    refuse('Labels cannot be null, undefined, or invalid type. Please provide a valid labels object.')
  }
  const entries = Object.entries(labels as object)
  if (entries.length === 0) refuse('Labels cannot be empty. Please provide at least one label.')
  for (const [key, value] of entries) {
    if (!key.trim()) refuse('Label keys cannot be empty. Please provide valid keys.')
    if (value === null || value === undefined || (typeof value === 'string' && !value.trim())) {
      refuse(`Label values cannot be empty: \`${key}\` has none. Please provide valid values.`)
    }
  }
}

function toolOf(said: JsonObject): McpTool {
  return {
    name: textOf(said.name),
    description: textOf(said.description),
    inputSchema: objectOf(said.inputSchema),
    server: textOf(said.server),
    tool: textOf(said.tool),
  }
}

function metricsOf(raw: JsonObject): SessionMetrics {
  const kilobytes = (name: string): number => {
    const names = [
      `${name}_kbyte_per_s`,
      `${name}_kbyte`,
      `${name}_kbps`,
      `${name}_KBps`,
      `${name}_kb`,
      `${name}_KB`,
    ]
    return numberOf(names.map((each) => raw[each]).find((value) => value !== undefined))
  }
  return {
    cpuCount: numberOf(raw.cpu_count),
    cpuUsedPct: numberOf(raw.cpu_used_pct),
    diskTotal: numberOf(raw.disk_total),
    diskUsed: numberOf(raw.disk_used),
    memTotal: numberOf(raw.mem_total),
    memUsed: numberOf(raw.mem_used),
    rxRateKbytePerS: kilobytes('rx_rate'),
    txRateKbytePerS: kilobytes('tx_rate'),
    rxUsedKbyte: kilobytes('rx_used'),
    txUsedKbyte: kilobytes('tx_used'),
    timestamp: textOf(raw.timestamp),
  }
}
