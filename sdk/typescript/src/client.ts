/** One method for each endpoint of the API. */

import { type Config, resolveConfig, variables } from './config.js'
import { refusal } from './errors.js'
import { HTTPClient } from './http.js'
import { isObject, type JsonObject, objectOf, textOf } from './json.js'
import type { CallOptions } from './options.js'

/** A success of the API. */
export interface ApiAnswer {
  /** Under which the server's log has the request. */
  requestId: string
  /** The protocol's word, `ok`. */
  code: string
  /** The HTTP status. */
  httpStatusCode: number
  /** What was asked for. */
  data: unknown
  /** The whole answer. */
  body: Record<string, unknown>
}

/** What a `Client` is made with, beside its configuration. */
export interface ClientOptions {
  /** The API key; otherwise `AGB_API_KEY` of the environment or of `.env`. */
  apiKey?: string
  /** Whether the methods of what is made with this client throw. */
  throwOnError?: boolean
}

/** The parameters of a request; what is `undefined` is left out. */
export type Parameters = Record<string, string | number | boolean | undefined>

/** Where a request's parameters go, and whether it may be sent twice. */
interface Endpoint {
  path: string
  method?: 'GET' | 'POST'
  in?: 'query' | 'body'
  idempotent?: boolean
}

/**
 * The API as it is on the wire. Each method takes the parameters of its endpoint and gives the answer of a success; a
 * failure is always thrown, as one of the errors of this package.
 *
 * @example
 * ```ts
 * const client = new Client({ endpoint: 'http://127.0.0.1:8080', timeoutMs: 60000 }, { apiKey: key })
 * const { data } = await client.getMcpSession({ sessionId })
 * await client.close()
 * ```
 */
export class Client {
  /** The connections. @internal */
  readonly http: HTTPClient
  /** Whether failures are thrown by what is made with this client. @internal */
  readonly throwOnError: boolean
  readonly #apiKey: string

  /**
   * @param config is taken from the environment if absent.
   * @param options has the API key.
   */
  constructor(config?: Config, options: ClientOptions = {}) {
    const variable = variables()
    this.#apiKey = options.apiKey ?? variable('AGB_API_KEY') ?? ''
    this.http = new HTTPClient(this.#apiKey, resolveConfig(config, variable))
    this.throwOnError = options.throwOnError ?? false
  }

  /** The API key. @internal */
  get apiKey(): string {
    return this.#apiKey
  }

  /** Makes a session. @example `await client.createMcpSession({ imageId }, { labels: '{}' })` */
  createMcpSession(
    query: Parameters,
    body: Record<string, unknown>,
    options?: CallOptions,
  ): Promise<ApiAnswer> {
    return this.#send({ path: '/mcp/createSession' }, query, body, options)
  }

  /** Ends a session. @example `await client.releaseMcpSession({ sessionId })` */
  releaseMcpSession(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/releaseSession', in: 'body', idempotent: true }, parameters, options)
  }

  /** Ends a session without waiting for it. @example `await client.deleteSessionAsync({ sessionId })` */
  deleteSessionAsync(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/releaseSessionAsync', in: 'body', idempotent: true }, parameters, options)
  }

  /** Where a session is reached. @example `await client.getMcpSession({ sessionId })` */
  getMcpSession(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/getSession', in: 'body', idempotent: true }, parameters, options)
  }

  /** How a session is. @example `await client.getSessionDetail({ sessionId })` */
  getSessionDetail(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/getSessionInfo', in: 'body', idempotent: true }, parameters, options)
  }

  /** The live view of a session. @example `await client.getMcpResource({ sessionId })` */
  getMcpResource(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/getMcpResource', in: 'body', idempotent: true }, parameters, options)
  }

  /** The sessions there are. @example `await client.listSessions({ maxResults: 10 })` */
  listSessions(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/ListSession', method: 'GET' }, parameters, options)
  }

  /** Replaces the labels of a session. @example `await client.setLabel({ sessionId, Labels: '{"a":"b"}' })` */
  setLabel(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/SetLabel', idempotent: true }, parameters, options)
  }

  /** The labels of a session. @example `await client.getLabel({ sessionId })` */
  getLabel(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetLabel', method: 'GET' }, parameters, options)
  }

  /** Begins the idle time of a session anew. @example `await client.refreshSessionIdleTime({ sessionId })` */
  refreshSessionIdleTime(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/refreshSessionIdleTime', idempotent: true }, parameters, options)
  }

  /** Calls a tool. `args` is JSON text. @example `await client.callMcpTool({ sessionId, name: 'shell', args })` */
  callMcpTool(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#send({ path: '/mcp' }, { autoGenSession: false }, parameters, options)
  }

  /** The tools of an image. @example `await client.listMcpTools({ imageId })` */
  listMcpTools(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/mcp/listTools', idempotent: true }, parameters, options)
  }

  /** The link to a port of a session. @example `await client.getLink({ sessionId, port: 30100 })` */
  getLink(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/internet/getLink', method: 'GET' }, parameters, options)
  }

  /** The DevTools endpoint of a session's browser. @example `await client.getCdpLink({ sessionId })` */
  getCdpLink(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/internet/getCdpLink', idempotent: true }, parameters, options)
  }

  /** Starts a session's browser. @example `await client.initBrowser({ sessionId, browserOption: '{}' })` */
  initBrowser(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/browser/init' }, parameters, options)
  }

  /** The contexts there are. @example `await client.listContexts({ maxResults: 10 })` */
  listContexts(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/ListContexts', method: 'GET' }, parameters, options)
  }

  /** A context, made if wanted. @example `await client.getContext({ name: 'data', allowCreate: true })` */
  getContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetContext', method: 'GET' }, parameters, options)
  }

  /** Renames a context. @example `await client.modifyContext({ id, name })` */
  modifyContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/ModifyContext', idempotent: true }, parameters, options)
  }

  /** Deletes a context. @example `await client.deleteContext({ id })` */
  deleteContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/DeleteContext' }, parameters, options)
  }

  /** Begins to empty a context. @example `await client.clearContext({ id })` */
  clearContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/ClearContext', idempotent: true }, parameters, options)
  }

  /** Begins to move the files of contexts. @example `await client.syncContext({ sessionId, mode: 'upload' })` */
  syncContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/SyncContext' }, parameters, options)
  }

  /** How far the files of contexts have come. @example `await client.getContextInfo({ sessionId })` */
  getContextInfo(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetContextInfo', method: 'GET' }, parameters, options)
  }

  /** A URL to read a file of a context from. @example `await client.getContextFileDownloadUrl({ contextId, filePath })` */
  getContextFileDownloadUrl(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetContextFileDownloadUrl', idempotent: true }, parameters, options)
  }

  /** A URL to write a file of a context to. @example `await client.getContextFileUploadUrl({ contextId, filePath })` */
  getContextFileUploadUrl(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetContextFileUploadUrl', idempotent: true }, parameters, options)
  }

  /** Deletes a file of a context. @example `await client.deleteContextFile({ contextId, filePath })` */
  deleteContextFile(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/DeleteContextFile' }, parameters, options)
  }

  /** The files of a context. @example `await client.describeContextFiles({ contextId, pageNumber: 1, pageSize: 50 })` */
  describeContextFiles(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/DescribeContextFiles', idempotent: true }, parameters, options)
  }

  /** Contexts that belong to a session. @example `await client.getAndLoadInternalContext({ sessionId, contextTypes })` */
  getAndLoadInternalContext(parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return this.#call({ path: '/sdk/GetAndLoadInternalContext', idempotent: true }, parameters, options)
  }

  /** Closes the connections. @example `await client.close()` */
  close(): Promise<void> {
    return this.http.close()
  }

  /** What may be shown of it. @example `JSON.stringify(client)` */
  toJSON(): Record<string, unknown> {
    return { timeoutMs: this.http.timeoutMs }
  }

  #call(endpoint: Endpoint, parameters: Parameters, options?: CallOptions): Promise<ApiAnswer> {
    return endpoint.in === 'body'
      ? this.#send(endpoint, {}, parameters, options)
      : this.#send(endpoint, parameters, endpoint.method === 'GET' ? undefined : {}, options)
  }

  async #send(
    { path, method = 'POST', idempotent }: Endpoint,
    params: Parameters,
    jsonData: JsonObject | undefined,
    options: CallOptions = {},
  ): Promise<ApiAnswer> {
    const { statusCode, headers, body, json } = await this.http.makeRequest({
      ...options,
      method,
      endpoint: path,
      params,
      jsonData,
      ...(idempotent === undefined ? {} : { idempotent }),
    })
    const envelope = objectOf(json)
    const requestId = textOf(envelope.requestId) || headers['x-request-id'] || ''
    if (statusCode === 200 && envelope.success === true) {
      return {
        requestId,
        code: textOf(envelope.code),
        httpStatusCode: statusCode,
        data: envelope.data,
        body: envelope,
      }
    }
    throw refusalOf(statusCode, envelope, body, requestId)
  }
}

/** The error of an answer that is no success, in the server's words where there are any. */
export function refusalOf(status: number, envelope: JsonObject, body: string, requestId: string): Error {
  const told =
    textOf(envelope.message).trim() ||
    (isObject(envelope) && 'success' in envelope ? '' : body.trim().slice(0, 500))
  const message = told || `the server answered with HTTP status ${status} and no reason`
  return refusal(status, textOf(envelope.code), message, requestId)
}
