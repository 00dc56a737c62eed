/** The other end of a WebSocket, which does only what a test says: it also answers no close. */

import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** A message as it came. */
export interface Said {
  invocationId: string
  data: Record<string, unknown>
}

export class Peer {
  /** Whether the connection is over. */
  readonly gone: Promise<unknown>
  readonly #connection: Duplex
  readonly #heard: Said[] = []
  readonly #news = new EventEmitter()
  #bytes = Buffer.alloc(0)

  constructor(request: IncomingMessage, connection: Duplex) {
    this.#connection = connection
    this.gone = new Promise((resolve) => connection.once('end', resolve))
    connection.on('error', () => undefined)
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}${GUID}`)
      .digest('base64')
    const head = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade']
    connection.write([...head, `sec-websocket-accept: ${accept}`, '', ''].join('\r\n'))
    connection.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes])
      while (this.#read());
    })
  }

  /** The next message. */
  async hear(): Promise<Said> {
    for (;;) {
      const said = this.#heard.shift()
      if (said !== undefined) return said
      await once(this.#news, 'said')
    }
  }

  /** Says something about what was asked for. */
  say({ invocationId }: Said, data: object): void {
    const text = Buffer.from(JSON.stringify({ invocationId, data }))
    const length = text.length < 126 ? [text.length] : [126, text.length >> 8, text.length & 255]
    this.#connection.write(Buffer.concat([Buffer.from([0x81, ...length]), text]))
  }

  hangUp(): void {
    this.#connection.end()
  }

  /** Reads a frame, if it is whole. */
  #read(): boolean {
    const bytes = this.#bytes
    if (bytes.length < 2) return false
    const short = bytes.readUInt8(1) & 127
    const start = short === 126 ? 4 : 2
    if (bytes.length < start) return false
    const length = short === 126 ? bytes.readUInt16BE(2) : short
    const end = start + 4 + length
    if (bytes.length < end) return false
    const mask = bytes.subarray(start, start + 4)
    const text = bytes.subarray(start + 4, end).map((byte, at) => byte ^ (mask[at % 4] ?? 0))
    this.#bytes = bytes.subarray(end)
    if ((bytes.readUInt8(0) & 15) === 1) {
      this.#heard.push(JSON.parse(text.toString()))
      this.#news.emit('said')
    }
    return true
  }
}
