/** A session's stream: one WebSocket for what is heard while it happens. */

import { randomBytes } from 'node:crypto'
import { WebSocket } from 'undici'
import { type AGBError, APIError, ConnectionError, InvalidArgumentError, TimeoutError } from './errors.js'
import { isObject, type JsonObject, objectOf, parseJson, textOf, unwrapJson } from './json.js'
import type { CallOptions } from './options.js'
import type { SessionLike } from './tool-call.js'

/** So often something is sent, so that nothing on the way takes the connection for idle. */
const PING_MS = 20_000

/** How long the connection may take to come about. */
const OPEN_MS = 30_000

/** One thing that is under way on the stream. */
export interface Invocation {
  id: string
  /** What is said about it, until its end, which comes last. */
  messages(): AsyncGenerator<JsonObject, void, undefined>
  /** Ends it, and what it does in the session. */
  stop(): void
}

/** What was said and not yet heard. */
class Inbox {
  readonly #waiting: JsonObject[] = []
  #error: AGBError | undefined
  #wake: (() => void) | undefined

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

/** The stream of one session. It opens when it is needed, and closes when nothing is under way. */
export class WsClient {
  readonly #session: SessionLike
  readonly #wsUrl: () => string
  readonly #inboxes = new Map<string, Inbox>()
  #socket: Promise<WebSocket> | undefined
  #ping: NodeJS.Timeout | undefined

  constructor(session: SessionLike, wsUrl: () => string) {
    this.#session = session
    this.#wsUrl = wsUrl
  }

  /** Asks for something that goes on. */
  async invoke(target: string, data: JsonObject, options: CallOptions = {}): Promise<Invocation> {
    options.signal?.throwIfAborted()
    const id = randomBytes(16).toString('hex')
    const inbox = new Inbox()
    this.#inboxes.set(id, inbox)
    let socket: WebSocket
    try {
      socket = await this.#open()
      options.signal?.throwIfAborted()
    } catch (error) {
      this.#forget(id)
      throw error
    }
    const say = (data: JsonObject): void => {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ invocationId: id, source: 'SDK', target, data }))
      }
    }
    const stop = (): void => {
      if (!this.#inboxes.has(id)) return
      say({ method: 'stop' })
      this.#forget(id)
    }
    say(data)
    const forget = (): void => this.#forget(id)
    return { id, stop, messages: () => heard(inbox, options, stop, forget) }
  }

  /** Ends all that is under way here. */
  close(): void {
    for (const inbox of this.#inboxes.values()) inbox.fail(new ConnectionError('the stream was closed'))
    this.#inboxes.clear()
    this.#hangUp()
  }

  #forget(id: string): void {
    this.#inboxes.delete(id)
    if (this.#inboxes.size === 0) this.#hangUp()
  }

  #hangUp(): void {
    clearInterval(this.#ping)
    const socket = this.#socket
    this.#socket = undefined
    // Where it never opened, whoever waited for it has heard.
    socket?.then((open) => open.close()).catch(() => undefined)
  }

  #open(): Promise<WebSocket> {
    this.#socket ??= this.#connect()
    return this.#socket
  }

  #connect(): Promise<WebSocket> {
    const url = this.#wsUrl()
    const token = this.#session.token
    if (!url || !token) {
      const id = this.#session.getSessionId()
      return this.#lose(
        new InvalidArgumentError(
          `wsUrl is not set on this session: \`${id}\` was not asked for; recover it with \`agb.get\``,
        ),
      )
    }
    return new Promise<WebSocket>((resolve, reject) => {
      const { http } = this.#session.getClient()
      const socket = new WebSocket(url, { headers: { 'x-access-token': token }, dispatcher: http.dispatcher })
      let opened = false
      let gone = false
      const timer = setTimeout(() => {
        lost(new TimeoutError(`opening the stream took longer than ${OPEN_MS} ms`, { timeoutMs: OPEN_MS }))
      }, OPEN_MS)
      const lost = (error: AGBError): void => {
        if (gone) return
        gone = true
        clearTimeout(timer)
        void this.#reason(error).then((why) => {
          if (opened) this.#drop(socket, why)
          else this.#lose(why).catch(reject)
        })
      }
      socket.addEventListener('open', () => {
        opened = true
        clearTimeout(timer)
        this.#ping = setInterval(() => socket.send('{"type":"ping"}'), PING_MS)
        this.#ping.unref()
        resolve(socket)
      })
      socket.addEventListener('message', (event) => this.#receive(event.data))
      socket.addEventListener('error', () => {
        const told = opened ? 'the stream broke' : 'the stream could not be opened'
        lost(new ConnectionError(told, { mayHaveHappened: opened }))
      })
      socket.addEventListener('close', () => {
        lost(new ConnectionError('the stream was closed', { mayHaveHappened: opened }))
      })
    })
  }

  /** A socket that was in use is gone: what was under way on it has failed. */
  #drop(socket: WebSocket, why: AGBError): void {
    void this.#socket?.then((current) => {
      if (current !== socket) return
      this.#socket = undefined
      clearInterval(this.#ping)
      for (const inbox of this.#inboxes.values()) inbox.fail(why)
    })
  }

  /** No socket came about; the next attempt is a new one. */
  #lose(why: AGBError): Promise<never> {
    // Not at once: `#open` has yet to keep the promise that fails.
    return Promise.resolve().then(() => {
      this.#socket = undefined
      throw why
    })
  }

  /** The socket cannot tell why it broke or was refused. The server is asked whether the session's end is the reason. */
  async #reason(error: AGBError): Promise<AGBError> {
    if (this.#inboxes.size === 0) return error
    try {
      await this.#session
        .getClient()
        .getMcpSession({ sessionId: this.#session.getSessionId() }, { timeoutMs: 5000 })
      return error
    } catch (thrown) {
      return thrown instanceof ConnectionError || thrown instanceof TimeoutError
        ? error
        : (thrown as AGBError)
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

/** The messages of one invocation. Leaving the loop, or aborting it, stops what it does. */
async function* heard(
  inbox: Inbox,
  options: CallOptions,
  stop: () => void,
  forget: () => void,
): AsyncGenerator<JsonObject, void, undefined> {
  const { signal, timeoutMs } = options
  let ended = false
  let broken: (() => never) | undefined
  const wake = (why: () => never): void => {
    broken ??= why
    stop()
    inbox.fail(new APIError('the stream was left'))
  }
  const onAbort = (): void =>
    wake(() => {
      throw signal?.reason
    })
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          wake(() => {
            throw new TimeoutError(`the stream took longer than ${timeoutMs} ms`, { timeoutMs })
          })
        }, timeoutMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    while (!ended) {
      const data = await inbox.take().catch((error: unknown) => {
        broken?.()
        ended = true
        throw error
      })
      broken?.()
      ended = data.phase === 'end' || data.phase === 'error' || refused(data)
      if (data.phase !== 'event' && data.phase !== 'end') {
        throw new APIError(refusedBecause(data), undefined, {})
      }
      yield data
    }
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    if (ended) forget()
    else stop()
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
