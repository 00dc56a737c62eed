/**
 * Keeps a view connected: opens the socket, notices when it is gone, asks why, waits, tries again, forever, until the
 * server says that there is nothing left to show.
 *
 * In: facts from the browser (`wake`, the socket's events) and inputs for the server. Out: every change of
 * {@link View}, the events of the picture. Start reading at {@link Connection.start}. Never touches the page.
 */

import { after, INITIAL, type View, type ViewEvent } from './state.ts'
import { parseStatus, type Status } from './status.ts'
import { Stream, type StreamEvents } from './stream.ts'
import type { Surface } from './surface.ts'
import type { Input, Request } from './wire.ts'

/** The waits between attempts: short first, as most losses are a server's restart or a change of network. */
export const BACKOFF = { firstMs: 250, factor: 1.6, maxMs: 5000, jitter: 0.25 } as const

/** A socket that has not brought a first picture by then is given up. A desktop that starts takes 1.5 s. */
const PICTURE_DEADLINE_MS = 15_000

/** An answer about the session that takes longer is as good as none. */
const STATUS_DEADLINE_MS = 5000

/**
 * An input, and no update for so long: perhaps nothing changed on the screen, perhaps the network is gone without
 * a word. The server is asked, and not more often than this.
 */
const DOUBT_MS = 5000

/** How often a page asks whether a paused session goes on. */
const PAUSED_ASK_MS = 2000

/** The page closes a connection with this code when the server broke the format. */
const CLOSE_MALFORMED = 4400

/**
 * A socket on its way. What the page says first, `hello`, is in its URL already: the first picture then comes with the
 * answer to the handshake.
 */
export interface OpenSocket {
  readonly socket: WebSocket
  readonly hello: Uint8Array<ArrayBuffer>
}

/** What a connection needs from outside, so that tests can bring their own. */
export interface Endpoint {
  /** A socket to the live view of this page. */
  open(): OpenSocket
  /** The document at `./status`, parsed as JSON. Rejects if there was no answer, or one that is not JSON. */
  status(signal: AbortSignal): Promise<unknown>
}

export interface ConnectionEvents extends Omit<StreamEvents, 'onMalformed'> {
  onView(view: View): void
  onStatus(status: Status): void
  /** A connection is gone, and with it all that was said on it. */
  onGone(): void
}

/** How long to wait before attempt `attempt`, which counts from 1, with `random` in 0..1. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(BACKOFF.maxMs, BACKOFF.firstMs * BACKOFF.factor ** (attempt - 1))
  // Spread, so that a restarted server does not meet all its viewers in the same instant.
  return full * (1 - BACKOFF.jitter * random)
}

/** One attempt: its socket, what is said on it, and the deadline of its first picture. */
interface Attempt {
  readonly socket: WebSocket
  readonly stream: Stream
  readonly deadline: ReturnType<typeof setTimeout>
}

export class Connection {
  readonly #surface: Surface
  readonly #endpoint: Endpoint
  readonly #events: ConnectionEvents
  #view: View = INITIAL
  #attempt: Attempt | null = null
  /** Runs while the next attempt is waited for. */
  #retry: ReturnType<typeof setTimeout> | null = null
  #painted = 0
  /** Runs from the first input after an update until the next update. */
  #doubt: ReturnType<typeof setTimeout> | null = null
  #asking = false
  /** Runs while the session is paused: somebody else may make it go on. */
  #watch: ReturnType<typeof setInterval> | null = null

  constructor(surface: Surface, endpoint: Endpoint, events: ConnectionEvents) {
    this.#surface = surface
    this.#endpoint = endpoint
    this.#events = events
  }

  get view(): View {
    return this.#view
  }

  /** Updates painted since the page was opened. */
  get painted(): number {
    return this.#painted
  }

  /** The present connection's figures; zeros while there is none. */
  get figures() {
    const stream = this.#attempt?.stream
    return {
      bytesReceived: stream?.bytesReceived ?? 0,
      encoding: stream?.encoding ?? null,
      inputSeq: stream?.inputSeq ?? 0,
      inputSeqAcknowledged: stream?.latency.acknowledged ?? 0,
      latencyMs: stream?.latency.ms ?? null,
    }
  }

  start(): void {
    this.#events.onView(this.#view)
    this.#connect()
    // The page wants to say which session it shows before the first picture is there.
    void this.#ask()
  }

  /** Sends an input; nothing happens while there is no live connection. */
  send(input: Input): void {
    if (this.#view.state !== 'live' || !this.#attempt) return
    this.#attempt.stream.send(input)
    this.#expectAnswer()
  }

  /** Asks for something beside input; nothing happens without a server that takes it. */
  request(request: Request): void {
    this.#attempt?.stream.request(request)
  }

  /** Something suggests that the network is back, or that somebody looks again. */
  wake(): void {
    if (this.#retry !== null) this.#connect()
    else if (this.#view.state === 'live') void this.#makeSure()
    else if (this.#view.state === 'paused') void this.#ask()
  }

  #connect(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
    const { socket, hello } = this.#endpoint.open()
    socket.binaryType = 'arraybuffer'
    const stream = new Stream(this.#surface, outletOf(socket), {
      ...this.#events,
      onPicture: (width, height) => {
        clearTimeout(attempt.deadline)
        this.#events.onPicture(width, height)
        this.#change({ kind: 'picture', nowMs: performance.now() })
      },
      onPainted: () => {
        this.#painted++
        this.#answered()
        this.#events.onPainted()
      },
      onMalformed: (error) => {
        this.#lose(
          attempt,
          `the server sent something this page cannot read: ${error.message}`,
          CLOSE_MALFORMED,
        )
      },
    })
    const deadline = setTimeout(
      () => this.#lose(attempt, 'the server did not send a picture'),
      PICTURE_DEADLINE_MS,
    )
    const attempt: Attempt = { socket, stream, deadline }
    this.#attempt = attempt
    socket.onopen = () => stream.open(hello)
    socket.onmessage = (event: MessageEvent<unknown>) => stream.receive(event.data)
    // An error is always followed by a close, which is where the loss is handled.
    socket.onclose = (event) => this.#lose(attempt, closeReason(event))
  }

  /** The one place where a connection ends, whoever ended it. Later news of the same attempt is ignored. */
  #lose(attempt: Attempt, reason: string, code = 1000): void {
    if (this.#attempt !== attempt) return
    this.#attempt = null
    clearTimeout(attempt.deadline)
    this.#answered()
    attempt.stream.close()
    attempt.socket.close(code)
    this.#events.onGone()
    this.#change({ kind: 'lost', reason, nowMs: performance.now() })
    if (this.#view.state === 'ended' || this.#view.state === 'paused') return
    // The wait begins now, not after the server's answer: both usually run at the same time.
    this.#retry = setTimeout(() => this.#connect(), backoffMs(this.#view.attempt, Math.random()))
    void this.#ask()
  }

  /** Asks what has become of the session. Its end also ends the attempts. */
  async #ask(): Promise<boolean> {
    if (this.#asking) return true
    this.#asking = true
    const status = await this.#status()
    this.#asking = false
    if (status) this.#events.onStatus(status)
    this.#change(status ? { kind: 'status', status } : { kind: 'unreachable' })
    return status !== null
  }

  async #status(): Promise<Status | null> {
    const abort = new AbortController()
    const deadline = setTimeout(() => abort.abort(), STATUS_DEADLINE_MS)
    try {
      return parseStatus(await this.#endpoint.status(abort.signal))
    } catch {
      // No network, no server, or a proxy's own error page: all the same from here.
      return null
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Asks whether the server is still there; a socket alone may not notice for minutes that it is not. */
  async #makeSure(): Promise<void> {
    const attempt = this.#attempt
    const paintedBefore = this.#painted
    const answered = await this.#ask()
    // A picture that came in the meantime is a better answer.
    if (attempt && !answered && this.#painted === paintedBefore) {
      this.#lose(attempt, 'the server cannot be reached')
    }
  }

  #expectAnswer(): void {
    this.#doubt ??= setTimeout(() => {
      this.#doubt = null
      void this.#makeSure()
    }, DOUBT_MS)
  }

  #answered(): void {
    if (this.#doubt !== null) clearTimeout(this.#doubt)
    this.#doubt = null
  }

  #change(event: ViewEvent): void {
    const view = after(this.#view, event)
    if (view === this.#view) return
    const paused = this.#view.state === 'paused'
    this.#view = view
    if (view.state === 'ended' || view.state === 'paused') this.#stop()
    if (view.state === 'paused') this.#watch = setInterval(() => void this.#ask(), PAUSED_ASK_MS)
    this.#events.onView(view)
    if (paused && view.state !== 'ended') this.#connect()
  }

  #stop(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
    this.#answered()
    const attempt = this.#attempt
    this.#attempt = null
    if (!attempt) return
    clearTimeout(attempt.deadline)
    attempt.stream.close()
    attempt.socket.close()
    this.#events.onGone()
  }
}

/** What the stream may send on; a socket that is not open yet, or not any more, swallows it. */
function outletOf(socket: WebSocket) {
  return {
    get bufferedAmount() {
      return socket.bufferedAmount
    },
    send(message: Uint8Array<ArrayBuffer>) {
      if (socket.readyState === 1) socket.send(message)
    },
  }
}

function closeReason(event: CloseEvent): string {
  if (event.reason) return event.reason
  return event.wasClean ? 'the server closed the connection' : 'the connection was lost'
}
