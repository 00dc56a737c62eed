/**
 * The one place where requests are sent: over kept connections, within a deadline, repeated only where that is safe.
 *
 * A request is sent again when no connection came about, because then nothing was done; one that may be repeated also
 * when its connection broke before the answer. A tool call that was sent is never sent again.
 */

import { Agent, type Dispatcher } from 'undici'
import { type Config, loadConfig } from './config.js'
import {
  AGBError,
  APIError,
  ConnectionError,
  InvalidArgumentError,
  messageOf,
  TimeoutError,
} from './errors.js'
import { parseJson, present } from './json.js'
import { pause, within } from './limits.js'
import type { CallOptions } from './options.js'

/** Milliseconds before a request is sent again; as many tries follow. */
const PAUSES_MS = [100, 300, 900]

/** How long a connection may take to come about. */
const CONNECT_MS = 10_000

/** An idle connection is given up before the server, which waits for 30 s, would. */
const IDLE_MS = 10_000

/** Longest answer that is kept in memory. 96 MiB are the most that a server takes from a tool. */
const ANSWER_BYTES_MAX = 128 << 20

/** What went wrong before a byte was sent. */
const NOT_SENT = new Set(['ECONNREFUSED', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

/** What went wrong while nothing came back. */
const BROKEN = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** What went wrong when no byte moved. */
const STALLED = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

/** A request as the transport takes it. */
export interface SendOptions extends CallOptions {
  method: string
  url: string
  headers?: Record<string, string>
  body?: string | Uint8Array | AsyncIterable<Uint8Array>
  /** Whether it may be done twice. */
  idempotent?: boolean
  /** Milliseconds in which some byte must move; only the whole is limited if absent. */
  stallMs?: number
}

/** An answer, read to its end. */
export interface HttpAnswer {
  /** The HTTP status. */
  statusCode: number
  /** The headers, in lower case. */
  headers: Record<string, string>
  /** The body. */
  body: string
  /** The body as JSON; `undefined` if it is none. */
  json: unknown
}

/** A request of the API, for `HTTPClient.makeRequest`. */
export interface RequestOptions extends CallOptions {
  /** `GET`, `POST`, ... */
  method: string
  /** The path, such as `/mcp/getSession`. */
  endpoint: string
  /** Headers beside those of every request. */
  headers?: Record<string, string>
  /** The query. What is `undefined` is left out. */
  params?: Record<string, string | number | boolean | undefined>
  /** The body, sent as JSON. */
  jsonData?: unknown
  /** The body as it is, where there is no `jsonData`. */
  data?: string
  /** Milliseconds until the answer; `timeoutMs` goes before it. */
  readTimeout?: number
  /** Taken for the official package's sake; a connection has 10 seconds. */
  connectTimeout?: number
  /** Whether the request may be sent again when its connection broke. A `GET` always may. */
  idempotent?: boolean
}

let defaultConfigOfClients: Config | undefined

/**
 * Connections to one server, and the way to send requests over them.
 *
 * @example
 * ```ts
 * const http = new HTTPClient(key, { endpoint: 'http://127.0.0.1:8080', timeoutMs: 5000 })
 * const { json } = await http.makeRequest({ method: 'GET', endpoint: '/healthz' })
 * await http.close()
 * ```
 */
export class HTTPClient {
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    keepAliveTimeout: IDLE_MS,
    pipelining: 1,
  })
  readonly #authorization: string
  readonly #config: Config
  readonly #base: string

  /**
   * @param apiKey is sent with every request of the API; none if it is empty.
   * @param cfg is `getDefaultConfig()` if absent.
   */
  constructor(apiKey = '', cfg?: Config) {
    this.#authorization = apiKey === '' ? '' : `Bearer ${apiKey}`
    this.#config = cfg ?? HTTPClient.getDefaultConfig()
    this.#base = baseUrl(this.#config.endpoint)
  }

  /**
   * Sets the configuration of clients that are made without one.
   *
   * @example
   * ```ts
   * HTTPClient.setDefaultConfig({ endpoint: 'http://127.0.0.1:8080', timeoutMs: 60000 })
   * ```
   */
  static setDefaultConfig(config: Config): void {
    defaultConfigOfClients = { ...config }
  }

  /**
   * The configuration of clients that are made without one.
   *
   * @example
   * ```ts
   * console.log(HTTPClient.getDefaultConfig().endpoint)
   * ```
   */
  static getDefaultConfig(): Config {
    return defaultConfigOfClients ?? loadConfig()
  }

  /** Milliseconds that a request may take that says nothing else. */
  get timeoutMs(): number {
    return this.#config.timeoutMs
  }

  /**
   * Sends a request of the API and gives the answer as it came, whatever its status.
   *
   * @example
   * ```ts
   * const answer = await http.makeRequest({ method: 'POST', endpoint: '/mcp/getSession', jsonData: { sessionId } })
   * ```
   */
  makeRequest(options: RequestOptions): Promise<HttpAnswer> {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(options.params ?? {})) {
      if (value !== undefined) query.set(name, String(value))
    }
    const text = query.toString()
    const timeoutMs = options.timeoutMs ?? options.readTimeout
    const body = options.jsonData === undefined ? options.data : JSON.stringify(options.jsonData)
    return this.send({
      method: options.method,
      url: `${this.#base}${options.endpoint}${text === '' ? '' : `?${text}`}`,
      headers: {
        'content-type': 'application/json',
        ...(this.#authorization === '' ? {} : { authorization: this.#authorization }),
        ...options.headers,
      },
      idempotent: options.idempotent ?? options.method === 'GET',
      ...(body === undefined ? {} : { body }),
      ...present<CallOptions>({ timeoutMs, signal: options.signal, since: options.since }),
    })
  }

  /** Sends any request and reads the answer. @internal */
  send(options: SendOptions): Promise<HttpAnswer> {
    return this.exchange(options, async (response) => {
      const body = await textOfAnswer(response)
      return {
        statusCode: response.statusCode,
        headers: flat(response.headers),
        body,
        json: parseJson(body),
      }
    })
  }

  /** Sends any request; `read` takes the answer, within the same limits. @internal */
  async exchange<T>(
    options: SendOptions,
    read: (response: Dispatcher.ResponseData) => Promise<T>,
  ): Promise<T> {
    const { origin, pathname, search } = new URL(options.url)
    const what = `${options.method} ${origin}${pathname}`
    return within(what, options, this.#config.timeoutMs, async (signal) => {
      for (let attempt = 0; ; attempt += 1) {
        let answered = false
        try {
          const response = await this.#agent.request({
            origin,
            path: pathname + search,
            method: options.method as Dispatcher.HttpMethod,
            headers: options.headers ?? {},
            // Its types do not know that it takes what can be iterated.
            body: (options.body ?? null) as string | Uint8Array | null,
            headersTimeout: options.stallMs ?? 0,
            bodyTimeout: options.stallMs ?? 0,
            signal,
          })
          answered = true
          return await read(response)
        } catch (error) {
          // An error of the reader knows what it says.
          if (signal.aborted || error instanceof AGBError) throw error
          const code = codeOf(error)
          if (STALLED.has(code)) {
            const timeoutMs = options.stallMs
            throw new TimeoutError(`${what}: no byte moved for ${timeoutMs} ms`, { timeoutMs, cause: error })
          }
          const mayRepeat = NOT_SENT.has(code) || (options.idempotent === true && BROKEN.has(code))
          const wait = PAUSES_MS[attempt]
          if (answered || !mayRepeat || wait === undefined) throw connectionError(error, code, origin)
          await pause(wait, { signal })
        }
      }
    })
  }

  /**
   * Closes the connections, once what is under way is over.
   *
   * @example
   * ```ts
   * await http.close()
   * ```
   */
  async close(): Promise<void> {
    await this.#agent.close()
  }
}

/** The text of an answer that has an end; what is longer than any answer of a server is refused. */
export async function textOfAnswer({ body, statusCode }: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) {
      throw new APIError(`the answer is longer than ${ANSWER_BYTES_MAX} bytes`, statusCode)
    }
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** The endpoint as a URL without a slash at its end. */
export function baseUrl(endpoint: string): string {
  const text = endpoint.trim()
  const withScheme = text.includes('://') ? text : `https://${text}`
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidArgumentError(
      `\`endpoint\` is ${JSON.stringify(endpoint)}; allowed: a URL such as http://127.0.0.1:8080`,
    )
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (typeof code === 'string') return code
  return cause === undefined || cause === null ? '' : codeOf(cause)
}

function connectionError(error: unknown, code: string, origin: string): ConnectionError {
  const cause = messageOf(error)
  const mayHaveHappened = !NOT_SENT.has(code) && code !== 'UND_ERR_CONNECT_TIMEOUT' && code !== 'ENOTFOUND'
  const message = mayHaveHappened
    ? `lost the connection to ${origin} before the answer came (${cause}); what was asked for may have been done`
    : `could not reach ${origin} (${cause || code})`
  return new ConnectionError(message, { cause: error, code, mayHaveHappened })
}

function flat(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  )
}
