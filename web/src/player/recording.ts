/**
 * A recording: what is in it, and the records of its segments, read piece by piece from the program that serves the page.
 *
 * Every length is checked before it is used: the bytes come from inside a session, and from a file of anybody's.
 */

import { MalformedError } from '../view/bytes.ts'

/** Bytes that are asked for at once; the server gives no more. */
const PIECE_BYTES = 8 << 20

/** Bytes of one segment. Recorders begin a new one long before. */
const SEGMENT_BYTES_MAX = 1 << 30

const HEAD_BYTES = 13

export interface Segment {
  readonly time: number
  readonly offset: number
  readonly end: number
  readonly width: number
  readonly height: number
}

export interface ToolCall {
  readonly kind: 'tool'
  readonly name: string
  readonly who: string
  readonly arguments: string
  readonly output: string
  readonly cut: number
  readonly failed: boolean
  readonly duration: number
}

export type Happening = ToolCall | { readonly kind: 'note'; readonly text: string }

/** Something beside the screen; its texts are cut, the whole is in the file at `offset`. */
export interface EventAt {
  readonly time: number
  readonly offset: number
  readonly length: number
  readonly event: Happening
}

export interface Contents {
  readonly about: { readonly sessionId: string; readonly started: number }
  readonly segments: readonly Segment[]
  readonly events: readonly EventAt[]
  readonly duration: number
  readonly finished: boolean
}

/** A message of the live view's server, and when it came. */
export interface Timed {
  readonly time: number
  readonly message: Uint8Array<ArrayBuffer>
}

/** The messages among the records in `bytes`. */
export function messagesOf(bytes: Uint8Array<ArrayBuffer>): Timed[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const messages: Timed[] = []
  let at = 0
  while (at + HEAD_BYTES <= bytes.length) {
    const length = view.getUint32(at, true)
    const kind = view.getUint8(at + 4)
    const time = Number(view.getBigUint64(at + 5, true))
    at += HEAD_BYTES
    if (length > bytes.length - at) throw new MalformedError(`a record of ${length} bytes is cut off`)
    if (kind === 3) messages.push({ time, message: bytes.subarray(at, at + length) })
    at += length
  }
  return messages
}

/** When an event began: its time is that of its end. */
export function beganAt({ time, event }: EventAt): number {
  return event.kind === 'tool' ? Math.max(0, time - event.duration) : time
}

/** The last of `items` that begins at `time` or before; -1 if none does. `items` are in order. */
export function lastAt<T>(items: readonly T[], time: number, of: (item: T) => number): number {
  let [low, high] = [0, items.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (of(items[middle] as T) <= time) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** What a tool answered, for a person: the texts in it, also when it was cut in the middle. */
export function readable(output: string): string {
  const texts = [...output.matchAll(/"text":"((?:[^"\\]|\\.)*)/g)].map(([, text]) => {
    try {
      return JSON.parse(`"${text}"`) as string
    } catch {
      return text
    }
  })
  return texts.length > 0 ? texts.join('\n') : output
}

/** Reads a recording. Keeps the segments that were read last. */
export class Source {
  readonly #base: URL
  readonly #kept = new Map<Segment, Promise<Timed[]>>()

  constructor(base: URL) {
    this.#base = base
  }

  async contents(): Promise<Contents> {
    const answer = await fetch(new URL('contents', this.#base))
    if (!answer.ok) throw new Error(await answer.text())
    return (await answer.json()) as Contents
  }

  messages(segment: Segment): Promise<Timed[]> {
    let messages = this.#kept.get(segment)
    if (!messages) {
      messages = this.bytes(segment.offset, segment.end).then(messagesOf)
      messages.catch(() => this.#kept.delete(segment))
      for (const oldest of [...this.#kept.keys()].slice(0, -2)) this.#kept.delete(oldest)
      this.#kept.set(segment, messages)
    }
    return messages
  }

  async event({ offset, length }: EventAt): Promise<Happening> {
    const bytes = await this.bytes(offset, offset + length)
    return JSON.parse(new TextDecoder().decode(bytes)) as Happening
  }

  async bytes(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    if (to - from > SEGMENT_BYTES_MAX) throw new MalformedError(`a segment of ${to - from} bytes`)
    const bytes = new Uint8Array(to - from)
    for (let at = from; at < to; at += PIECE_BYTES) {
      const url = new URL('bytes', this.#base)
      url.search = `from=${at}&to=${Math.min(to, at + PIECE_BYTES)}`
      const answer = await fetch(url)
      if (!answer.ok) throw new Error(await answer.text())
      const piece = new Uint8Array(await answer.arrayBuffer())
      if (piece.length > to - at) throw new MalformedError('more bytes than were asked for')
      bytes.set(piece, at - from)
    }
    return bytes
  }
}
