/** A session's stream: one WebSocket for what is heard while it happens. */

import type { Socket } from 'node:net'
import { Agent, buildConnector, WebSocket } from 'undici'
import {
  type AGBError,
  APIError,
  asError,
  ConnectionError,
  InvalidArgumentError,
  TimeoutError,
} from './errors.js'
import { isObject, type JsonObject, objectOf, parseJson, textOf, unwrapJson } from './json.js'
import { Limits } from './limits.js'
import type { CallOptions } from './options.js'
import type { SessionLike } from './tool-call.js'

/** So often something is sent, so that nothing on the way takes the connection for idle. */
const PING_MS = 20_000

/** How long the connection may take to come about. */
const OPEN_MS = 30_000

/** How long the other side may take to agree that it is over. */
const CLOSE_MS = 2000

/** What was said and not yet heard. */
class Inbox {
  /** What was asked. */
  readonly question: string
  readonly #waiting: JsonObject[] = []
  #error: AGBError | undefined
  #wake: (() => void) | undefined

  constructor(question: string) {
    this.question = question
  }

  put(message: JsonObject): void {
    this.#waiting.push(message)
    this.#wake?.()
  }

  fail(error: AGBError): void {
    this.#error ??= error
    this.#wake?.()
  }

  async take(): Promise<JsonObject> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next !== undefined) return next
      if (this.#error !== undefined) throw this.#error
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/** One connection, from its opening until it is hung up. */
class Line {
  /** What is said and heard on it. */
  readonly socket: WebSocket
  /** Whether it came about. */
  wasOpen = false
  readonly #timer: NodeJS.Timeout
  #connection: Socket | undefined
  #ping: NodeJS.Timeout | undefined

  /** @param lost hears why it broke or never came about, maybe more than once. */
  constructor(url: string, token: string, lost: (error: AGBError) => void) {
    const connect = buildConnector({ timeout: OPEN_MS })
    // It connects by itself, to have what is below the WebSocket: that one cannot be ended without an answer.
    const dispatcher = new Agent({
      connect: (options, done) =>
        connect(options, (...made) => {
          this.#connection = made[1] ?? undefined
          done(...made)
        }),
    })
    this.socket = new WebSocket(url, { headers: { 'x-access-token': token }, dispatcher })
    this.#timer = setTimeout(() => {
      lost(new TimeoutError(`opening the stream took longer than ${OPEN_MS} ms`, { timeoutMs: OPEN_MS }))
    }, OPEN_MS)
    this.socket.addEventListener('open', () => {
      this.wasOpen = true
      clearTimeout(this.#timer)
      this.#ping = setInterval(() => this.socket.send('{"type":"ping"}'), PING_MS)
      this.#ping.unref()
    })
    this.socket.addEventListener('error', () => {
      const told = this.wasOpen ? 'the stream broke' : 'the stream could not be opened'
      lost(new ConnectionError(told, { mayHaveHappened: this.wasOpen }))
    })
    this.socket.addEventListener('close', () => {
      lost(new ConnectionError('the stream was closed', { mayHaveHappened: this.wasOpen }))
    })
  }

  /** Ends it. An answer is waited for, but not for long, and no process goes on for that. */
  hangUp(): void {
    clearTimeout(this.#timer)
    clearInterval(this.#ping)
    this.socket.close()
    const connection = this.#connection
    connection?.unref()
    setTimeout(() => connection?.destroy(), CLOSE_MS).unref()
  }
}

/** The stream of one session. It opens when it is needed, and closes when nothing is under way. */
export class WsClient {
  readonly #session: SessionLike
  readonly #wsUrl: () => string
  /** What is under way, by its id. */
  readonly #inboxes = new Map<string, Inbox>()
  #line: Line | undefined

  constructor(session: SessionLike, wsUrl: () => string) {
    this.#session = session
    this.#wsUrl = wsUrl
  }

  /**
   * Asks for something that goes on and gives what is said about it, until its end, which comes last. Leaving the loop,
   * or a limit, ends it in the session, too.
   */
  async *invoke(
    id: string,
    target: string,
    data: JsonObject,
    options: CallOptions,
  ): AsyncGenerator<JsonObject, void, undefined> {
    const limits = new Limits('the stream', options, this.#session.getClient().http.timeoutMs)
    const text = (data: JsonObject): string =>
      JSON.stringify({ invocationId: id, source: 'SDK', target, data })
    const inbox = new Inbox(text(data))
    const leave = (): void => this.#leave(id, text({ method: 'stop' }))
    const onLimit = (): void => {
      leave()
      inbox.fail(new ConnectionError('the stream was left'))
    }
    limits.signal.addEventListener('abort', onLimit, { once: true })
    try {
      this.#ask(id, inbox)
      for (let isOver = false; !isOver; ) {
        const message = await inbox.take()
        limits.check()
        isOver = message.phase === 'end' || message.phase === 'error' || refused(message)
        if (isOver) this.#leave(id)
        if (message.phase !== 'event' && message.phase !== 'end') {
          throw new APIError(refusedBecause(message), undefined, {})
        }
        yield message
      }
    } catch (error) {
      limits.check()
      throw error
    } finally {
      limits.release()
      leave()
    }
  }

  /** Ends all that is under way here. */
  close(): void {
    for (const inbox of this.#inboxes.values()) inbox.fail(new ConnectionError('the stream was closed'))
    this.#inboxes.clear()
    this.#hangUp()
  }

  #ask(id: string, inbox: Inbox): void {
    this.#line ??= this.#dial()
    this.#inboxes.set(id, inbox)
    // What is asked before it is open is sent then.
    if (this.#line.wasOpen) this.#line.socket.send(inbox.question)
  }

  #leave(id: string, word?: string): void {
    if (!this.#inboxes.delete(id)) return
    if (word !== undefined && this.#line?.wasOpen) this.#line.socket.send(word)
    if (this.#inboxes.size === 0) this.#hangUp()
  }

  #hangUp(): void {
    const line = this.#line
    this.#line = undefined
    line?.hangUp()
  }

  #dial(): Line {
    const url = this.#wsUrl()
    const { token } = this.#session
    if (!url || !token) {
      const id = this.#session.getSessionId()
      throw new InvalidArgumentError(
        `wsUrl is not set on this session: \`${id}\` was not asked for; recover it with \`agb.get\``,
      )
    }
    const line = new Line(url, token, (error) => {
      // One that was hung up is missed by nobody.
      if (this.#line === line) this.#lose(error)
    })
    line.socket.addEventListener('open', () => {
      for (const { question } of this.#inboxes.values()) line.socket.send(question)
    })
    line.socket.addEventListener('message', (event) => this.#receive(event.data))
    return line
  }

  /** What is under way has failed; the next attempt is a new one. */
  #lose(error: AGBError): void {
    const missing = [...this.#inboxes.values()]
    this.#inboxes.clear()
    this.#hangUp()
    void this.#reason(error).then((why) => {
      for (const inbox of missing) inbox.fail(why)
    })
  }

  /** The socket cannot tell why it broke or was refused. The server is asked whether the session's end is the reason. */
  async #reason(error: AGBError): Promise<AGBError> {
    try {
      await this.#session
        .getClient()
        .getMcpSession({ sessionId: this.#session.getSessionId() }, { timeoutMs: 5000 })
      return error
    } catch (thrown) {
      return thrown instanceof ConnectionError || thrown instanceof TimeoutError ? error : asError(thrown)
    }
  }

  #receive(text: unknown): void {
    const message = objectOf(parseJson(textOf(text)))
    const inbox = this.#inboxes.get(textOf(message.invocationId) || textOf(message.requestId))
    if (inbox === undefined) return
    const data = unwrapJson(message.data)
    if (isObject(data)) inbox.put(data)
    else inbox.fail(new APIError('data is required and must be an object', undefined, {}))
  }
}

function refused(data: JsonObject): boolean {
  return typeof data.error === 'string' && data.error !== ''
}

function refusedBecause(data: JsonObject): string {
  const { error, phase } = data
  if (refused(data)) return textOf(error)
  if (phase === 'error') return textOf(objectOf(error).message) || 'the stream failed and did not say why'
  return `a message of the stream has the phase ${JSON.stringify(phase)}`
}
