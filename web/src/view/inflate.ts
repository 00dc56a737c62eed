/**
 * One raw deflate stream that comes in pieces, each flushed so that it inflates to a length known beforehand.
 *
 * In: a piece and its inflated length, in order; out: exactly that many bytes, however the browser cuts its output.
 * Invariants: memory is bounded by what was announced plus one slice's output; a stream that stops short ends
 * in an error, never in waiting forever.
 */

import { MalformedError } from './bytes.ts'

/** Whether this browser inflates raw deflate streams. Early implementations know other formats only. */
export function canInflate(): boolean {
  try {
    return new DecompressionStream('deflate-raw') !== undefined
  } catch {
    return false
  }
}

/**
 * Pieces are fed in slices of this size. The stream takes the next slice only when somebody waits for output, so a
 * piece that would inflate without end costs at most one slice's output (1 kB at most per byte).
 */
const SLICE_BYTES = 16 << 10

/** Inflating takes well under a millisecond; a piece that gives nothing for so long is shorter than announced. */
export const STARVED_MS = 4000

export class Inflater {
  readonly #writer: WritableStreamDefaultWriter<BufferSource>
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  /** Output of the stream that no piece has taken yet. */
  #spare: Uint8Array = new Uint8Array(0)
  /** Pieces take their output in the order in which they came. */
  #order: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor() {
    const stream = new DecompressionStream('deflate-raw')
    this.#writer = stream.writable.getWriter()
    this.#reader = stream.readable.getReader()
    // Errors show where output is read; these promises would only repeat them as unhandled.
    this.#writer.closed.catch(() => {})
    this.#reader.closed.catch(() => {})
  }

  /** Begins to inflate at once, also while earlier pieces are still on their way. */
  inflate(piece: Uint8Array<ArrayBuffer>, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#waiting++
    for (let at = 0; at < piece.length; at += SLICE_BYTES) {
      this.#writer.write(piece.subarray(at, at + SLICE_BYTES)).catch(() => {})
    }
    const result = this.#order.then(() => this.#take(length))
    this.#order = result.catch(() => {})
    return result
  }

  /** Lets go of the stream. Pieces that are still waiting fail. */
  dispose(): void {
    this.#writer.abort().catch(() => {})
    this.#reader.cancel().catch(() => {})
  }

  async #take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const output = new Uint8Array(length)
    let filled = 0
    while (filled < length) {
      if (this.#spare.length === 0) this.#spare = await this.#read(length - filled)
      const part = this.#spare.subarray(0, length - filled)
      output.set(part, filled)
      filled += part.length
      this.#spare = this.#spare.subarray(part.length)
    }
    this.#waiting--
    if (this.#spare.length > 0 && this.#waiting === 0) {
      throw new MalformedError('an update inflates to more bytes than it announced')
    }
    return output
  }

  async #read(missing: number): Promise<Uint8Array> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const starved = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new MalformedError(`an update inflates to ${missing} bytes fewer than it announced`)),
        STARVED_MS,
      )
    })
    try {
      const { value, done } = await Promise.race([this.#reader.read(), starved])
      if (done) throw new MalformedError('the picture stream has ended')
      return value
    } catch (error) {
      if (error instanceof MalformedError) throw error
      throw new MalformedError('the picture stream is not valid deflate data', { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
}
