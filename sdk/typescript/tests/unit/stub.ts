/** A server of the API that answers as a test says, or misbehaves. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterAll, beforeAll } from 'vitest'
import { AGB } from '../../src/index.js'

/** A request as it came. */
export interface Seen {
  method: string
  path: string
  query: Record<string, string>
  headers: IncomingMessage['headers']
  body: string
}

type Reply = (seen: Seen, response: ServerResponse, request: IncomingMessage) => unknown

export class Stub {
  seen: Seen[] = []
  /** Connections that were made. */
  connections = 0
  #reply: Reply = () => ({})
  readonly #server: Server = createServer((request, response) => void this.#serve(request, response))

  constructor() {
    this.#server.on('connection', () => {
      this.connections += 1
    })
    beforeAll(async () => {
      await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    })
    afterAll(() => {
      this.#server.closeAllConnections()
      this.#server.close()
    })
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Says what is answered from here on: the data of a success, or what `reply` writes itself. */
  replies(reply: Reply): void {
    this.seen = []
    this.connections = 0
    this.#reply = reply
  }

  /** Takes the WebSockets that are opened from here on. */
  upgrades(take: (request: IncomingMessage, connection: Duplex) => void): void {
    this.#server.removeAllListeners('upgrade').on('upgrade', take)
  }

  agb(timeoutMs = 60_000): AGB {
    return new AGB({ apiKey: 'key-1', config: { endpoint: this.endpoint, timeoutMs } })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      // Its client went away before it was whole.
      return
    }
    const url = new URL(request.url ?? '', 'http://stub')
    const seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    }
    this.seen.push(seen)
    const data = await this.#reply(seen, response, request)
    if (response.writableEnded || response.destroyed || response.headersSent || data === undefined) return
    const rest =
      typeof data === 'object' && data !== null && 'whole' in data ? (data.whole as object) : { data }
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({ requestId: 'R-1', success: true, code: 'ok', httpStatusCode: 200, ...rest }),
    )
  }
}

/** Answers as a server that refuses. */
export function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.statusCode = status
  response.end(JSON.stringify({ requestId: 'R-2', success: false, code, message, httpStatusCode: status }))
}
