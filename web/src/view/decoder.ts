/**
 * What turns an update into a change of the picture. One implementation per way of encoding: tiles
 * here, motion in `video.ts`, chosen by the kind of the message.
 */

import { MalformedError } from './bytes.ts'
import { Inflater } from './inflate.ts'
import { opsBytesMax, Painter } from './painter.ts'
import type { Surface } from './surface.ts'
import type { ServerMessage } from './wire.ts'

/** Deflate makes at most so many bytes of one. What claims more is lying, and no memory is kept for it. */
const INFLATED_MAX = 1032

/** The messages that carry a picture update. */
export type UpdateMessage = Extract<ServerMessage, { update: unknown }>

/** Puts a decoded update on the surface. Called in the order in which updates arrived, whoever decoded them. */
export type Paint = (surface: Surface) => void

export interface Decoder {
  /** A hello has arrived: a picture of this size begins, and nothing refers to an earlier one. */
  reset(width: number, height: number): void
  /** Begins to decode at arrival. Rejects with `MalformedError` if that cannot be done. */
  decode(message: UpdateMessage): Promise<Paint>
  /** The connection is over. */
  dispose(): void
}

/** Lossless drawing operations, in one continuing deflate stream or plain. */
export class TileDecoder implements Decoder {
  readonly #painter = new Painter()
  #inflater: Inflater | null = null
  #bytesMax = 0

  reset(width: number, height: number): void {
    this.#bytesMax = opsBytesMax(width, height)
    // Not disposed of: updates of the picture before may still be inflating, and end by themselves.
    this.#inflater = null
  }

  async decode(message: UpdateMessage): Promise<Paint> {
    const ops = await this.#ops(message)
    return (surface) => this.#painter.paint(ops, surface)
  }

  dispose(): void {
    this.#inflater?.dispose()
    this.#inflater = null
  }

  async #ops(message: UpdateMessage): Promise<Uint8Array<ArrayBuffer>> {
    const length = message.kind === 'deflated' ? message.inflatedLength : message.update.body.length
    if (length > this.#bytesMax) {
      throw new MalformedError(`an update of ${length} bytes; allowed for this screen: ${this.#bytesMax}`)
    }
    if (message.kind !== 'deflated') return message.update.body
    if (length > message.update.body.length * INFLATED_MAX) {
      throw new MalformedError(`an update of ${length} bytes in ${message.update.body.length} of deflate`)
    }
    this.#inflater ??= new Inflater()
    return this.#inflater.inflate(message.update.body, length)
  }
}
