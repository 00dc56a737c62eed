/**
 * One segment on a canvas: feeds its messages to the live view's decoders, as if a server sent them now.
 *
 * The decoders acknowledge what is painted; by that the show knows how far the picture is, and hands them no more than
 * they take.
 */

import type { MalformedError } from '../view/bytes.ts'
import type { PeerPointer } from '../view/share.ts'
import { Stream } from '../view/stream.ts'
import { CanvasSurface } from '../view/surface.ts'
import type { CursorShape } from '../view/wire.ts'
import type { Segment, Timed } from './recording.ts'

/** Updates that are decoded ahead of the picture. Below what the stream takes for an attack. */
const AHEAD_MAX = 24

export interface ShowEvents {
  /** A pointer of the agent's or of a person's. */
  onPeer(peer: PeerPointer): void
  onCursor(cursor: CursorShape): void
}

export class Show {
  readonly canvas = document.createElement('canvas')
  readonly segment: Segment
  readonly #messages: readonly Timed[]
  readonly #stream: Stream
  readonly #events: ShowEvents
  #next = 0
  #ahead = 0
  #wake: (() => void) | null = null
  #broken: MalformedError | null = null

  constructor(segment: Segment, messages: readonly Timed[], events: ShowEvents) {
    this.segment = segment
    this.#messages = messages
    this.#events = events
    this.canvas.className = 'picture'
    this.#stream = new Stream(
      new CanvasSurface(this.canvas),
      {
        bufferedAmount: 0,
        // Kind 3: an update is on the canvas.
        send: (message) => {
          if (message[0] === 3) this.#painted()
        },
      },
      {
        onPicture: () => {},
        onPainted: () => {},
        onCursor: (cursor) => this.#events.onCursor(cursor),
        onClipboard: () => {},
        onRoom: () => {},
        onPeer: (peer) => this.#events.onPeer(peer),
        onSound: () => {},
        onMalformed: (error) => {
          this.#broken = error
          this.#wake?.()
        },
      },
    )
  }

  /** When its first update came. Before that it has nothing to show. */
  get begin(): number {
    const isUpdate = ({ message }: Timed) => message[0] === 2 || message[0] === 3 || message[0] === 4
    return this.#messages.find(isUpdate)?.time ?? this.segment.time
  }

  /** When the next message is due; none after the last. */
  get nextTime(): number | null {
    return this.#messages[this.#next]?.time ?? null
  }

  /** Shows everything until `time`, unless `over` says that nobody wants it any more. */
  async advance(time: number, over: () => boolean): Promise<void> {
    for (;;) {
      const due = this.#messages[this.#next]
      if (!due || due.time > time) break
      this.#next++
      this.#take(due.message)
      while (this.#ahead >= AHEAD_MAX) await this.#progress()
      if (over()) return
    }
    while (this.#ahead > 0 && !over()) await this.#progress()
  }

  close(): void {
    this.#stream.close()
  }

  #take(message: Uint8Array<ArrayBuffer>): void {
    const kind = message[0] ?? 0
    if (kind >= 2 && kind <= 4) this.#ahead++
    // The stream takes whole buffers, as sockets give them.
    this.#stream.receive(message.slice().buffer)
  }

  #painted(): void {
    this.#ahead--
    this.#wake?.()
  }

  async #progress(): Promise<void> {
    if (this.#broken) throw this.#broken
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    if (this.#broken) throw this.#broken
  }
}
