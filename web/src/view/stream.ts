/**
 * One connection's conversation: messages in, pictures and acknowledgements out.
 *
 * In: the socket's messages in order, the viewer's inputs. Out: calls on the surface and on {@link StreamEvents}, bytes
 * for the socket. Updates begin to decode when they arrive and are painted strictly in order; each is acknowledged twice,
 * on arrival (the server measures the link by it) and on the canvas (it measures this device). Never reconnects:
 * that is `connection.ts`.
 */

import { MalformedError } from './bytes.ts'
import { type Decoder, TileDecoder, type UpdateMessage } from './decoder.ts'
import { Latency } from './latency.ts'
import type { Room } from './room.ts'
import type { ClipboardMessage, PeerPointer } from './share.ts'
import type { Surface } from './surface.ts'
import { MotionDecoder } from './video.ts'
import {
  type CursorShape,
  decode,
  encodeInput,
  encodePainted,
  encodeReceived,
  encodeRequest,
  type Input,
  type Request,
  textPieces,
} from './wire.ts'

/** Bytes of one message; a full picture of the largest screen deflates to less. */
const MESSAGE_BYTES_MAX = 64 << 20

/** Updates that wait to be painted. The server keeps a few in flight; one that sends on regardless is cut off. */
const WAITING_MAX = 64

/** Pointer moves are dropped while so much waits in the socket: the next one says all that they said. */
const MOVE_BACKLOG_BYTES = 16 << 10

/** What the stream tells its owner. */
export interface StreamEvents {
  /** The first update of a picture of this size is on the surface. */
  onPicture(width: number, height: number): void
  onPainted(): void
  onCursor(cursor: CursorShape): void
  onClipboard(clipboard: ClipboardMessage): void
  onRoom(room: Room): void
  onPeer(peer: PeerPointer): void
  onSound(seq: number, packet: Uint8Array<ArrayBuffer>): void
  /** The server broke the format: the connection must be closed. Said at most once. */
  onMalformed(error: MalformedError): void
}

/** The part of a WebSocket that the stream writes to. */
export interface Outlet {
  readonly bufferedAmount: number
  send(message: Uint8Array<ArrayBuffer>): void
}

export class Stream {
  readonly latency = new Latency()
  readonly #surface: Surface
  readonly #outlet: Outlet
  readonly #events: StreamEvents
  readonly #tiles = new TileDecoder()
  /** Which decoder takes which kind of update. */
  readonly #decoders: Record<UpdateMessage['kind'], Decoder> = {
    deflated: this.#tiles,
    plain: this.#tiles,
    video: new MotionDecoder((failure) =>
      this.request({ kind: 'video-failed', broken: failure === 'broken' }),
    ),
  }
  #takesRequests = false
  /** The picture that the last hello announced; it replaces the old one when its first update is painted. */
  #announced: { width: number; height: number } | null = null
  #order: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #inputSeq = 0
  #bytesReceived = 0
  #encoding: UpdateMessage['kind'] | null = null
  #over = false

  constructor(surface: Surface, outlet: Outlet, events: StreamEvents) {
    this.#surface = surface
    this.#outlet = outlet
    this.#events = events
  }

  /** The last input number that was sent. */
  get inputSeq(): number {
    return this.#inputSeq
  }

  get bytesReceived(): number {
    return this.#bytesReceived
  }

  /** What the last update was; `null` before the first. */
  get encoding(): UpdateMessage['kind'] | null {
    return this.#encoding
  }

  /** Says the first word. Said with the URL already, it is for servers that did not hear it there. */
  open(hello: Uint8Array<ArrayBuffer>): void {
    this.#outlet.send(hello)
  }

  /** Takes one message of the socket: an `ArrayBuffer`, or the string of a text message, which is none of ours. */
  receive(data: unknown): void {
    if (this.#over) return
    try {
      if (!(data instanceof ArrayBuffer)) throw new MalformedError('the server sent a text message')
      if (data.byteLength > MESSAGE_BYTES_MAX) {
        throw new MalformedError(`a message of ${data.byteLength} bytes; allowed: ${MESSAGE_BYTES_MAX}`)
      }
      this.#bytesReceived += data.byteLength
      this.#take(new Uint8Array(data))
    } catch (error) {
      this.#fail(error)
    }
  }

  send(input: Input): void {
    if (this.#over) return
    if (input.kind === 'pointer' && this.#outlet.bufferedAmount > MOVE_BACKLOG_BYTES) return
    if (input.kind === 'text') {
      for (const text of textPieces(input.text)) this.#sendOne({ kind: 'text', text })
      return
    }
    if (input.kind === 'clipboard' && !this.#takesRequests) return
    this.#sendOne(input)
  }

  /** Asks for something, of a server that understands it. */
  request(request: Request): void {
    if (!this.#over && this.#takesRequests) this.#outlet.send(encodeRequest(request))
  }

  /** The connection is over: nothing that is still decoding reaches the surface. */
  close(): void {
    this.#over = true
    for (const decoder of new Set(Object.values(this.#decoders))) decoder.dispose()
  }

  #take(bytes: Uint8Array<ArrayBuffer>): void {
    const message = decode(bytes)
    switch (message.kind) {
      case 'hello': {
        const { width, height } = message
        this.#announced = { width, height }
        this.#takesRequests = message.takesRequests
        for (const decoder of new Set(Object.values(this.#decoders))) decoder.reset(width, height)
        return
      }
      case 'cursor':
        this.#events.onCursor(message.cursor)
        return
      case 'clipboard':
        this.#events.onClipboard(message.clipboard)
        return
      case 'room':
        this.#events.onRoom(message.room)
        return
      case 'peer':
        this.#events.onPeer(message.peer)
        return
      case 'sound':
        this.#events.onSound(message.seq, message.packet)
        return
      case 'unknown':
        return
      case 'deflated':
      case 'plain':
      case 'video':
        this.#takeUpdate(message)
    }
  }

  #takeUpdate(message: UpdateMessage): void {
    const picture = this.#announced
    if (!picture) throw new MalformedError('the server sent a picture before its hello')
    const { seq, inputSeq } = message.update
    this.#outlet.send(encodeReceived(seq))
    if (++this.#waiting > WAITING_MAX) {
      throw new MalformedError(
        `more than ${WAITING_MAX} updates came without waiting for their acknowledgement`,
      )
    }
    this.#encoding = message.kind
    const decoding = this.#decoders[message.kind].decode(message)
    // A failure shows below, in its turn; until then nobody else would catch it.
    decoding.catch(() => {})
    this.#order = this.#order.then(async () => {
      try {
        const paint = await decoding
        if (this.#over) return
        this.#begin(picture)
        paint(this.#surface)
        this.#waiting--
        this.#outlet.send(encodePainted(seq))
        this.latency.painted(inputSeq, this.#inputSeq, performance.now())
        this.#events.onPainted()
      } catch (error) {
        this.#fail(error)
      }
    })
  }

  #begun: { width: number; height: number } | null = null

  /** Turns to a new picture just before its first update, so that the old one stays visible until then. */
  #begin(picture: { width: number; height: number }): void {
    if (this.#begun === picture) return
    this.#begun = picture
    this.#surface.reset(picture.width, picture.height)
    this.#events.onPicture(picture.width, picture.height)
  }

  #sendOne(input: Input): void {
    // A u32 on the wire. At one input per millisecond it lasts 49 days, longer than any view's URL.
    this.#inputSeq++
    this.latency.sent(this.#inputSeq, performance.now())
    this.#outlet.send(encodeInput(this.#inputSeq, input))
  }

  #fail(error: unknown): void {
    if (this.#over) return
    this.close()
    const known =
      error instanceof MalformedError
        ? error
        : new MalformedError('the picture could not be painted', { cause: error })
    this.#events.onMalformed(known)
  }
}
