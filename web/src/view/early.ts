/**
 * A socket that was opened before anybody could listen to it, with what has happened on it since.
 *
 * Whoever takes it sets its handlers at once; then it hears everything from the beginning, in order. What is kept is
 * little: a server sends a few updates and waits for their acknowledgements.
 */

import type { OpenSocket } from './connection.ts'

const HEARD = ['open', 'message', 'close'] as const

export class EarlySocket {
  readonly #opened: OpenSocket
  readonly #events: Event[] = []
  readonly #keep = (event: Event) => {
    this.#events.push(event)
  }
  #taken = false

  constructor(opened: OpenSocket) {
    opened.socket.binaryType = 'arraybuffer'
    for (const kind of HEARD) opened.socket.addEventListener(kind, this.#keep)
    this.#opened = opened
  }

  /** The socket, for the first who asks; its handlers must be set before the present task ends. */
  take(): OpenSocket | null {
    if (this.#taken) return null
    this.#taken = true
    const { socket } = this.#opened
    queueMicrotask(() => {
      for (const kind of HEARD) socket.removeEventListener(kind, this.#keep)
      for (const event of this.#events) socket.dispatchEvent(event)
    })
    return this.#opened
  }
}
