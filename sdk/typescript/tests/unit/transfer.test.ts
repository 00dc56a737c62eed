/** Transfers that no real server makes: longer, slower and more broken ones. */

import { mkdtemp, rm, stat } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { APIError, Client, Session } from '../../src/index.js'
import { Stub } from './stub.js'

const stub = new Stub()
const session = () =>
  new Session(stub.agb(), 's-1')._reachedBy({ linkUrl: `${stub.endpoint}/link/s-1`, token: 't-1' })

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-sdk-transfer-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** More than an answer in memory may have. */
const LONG = (128 << 20) + 1

function long(response: ServerResponse): void {
  const piece = Buffer.alloc(1 << 20, 'b')
  const pieces = function* () {
    for (let left = LONG; left > 0; left -= piece.length) yield piece.subarray(0, left)
  }
  response.writeHead(200, { 'content-length': LONG })
  Readable.from(pieces(), { objectMode: false }).pipe(response)
}

describe('an answer without end', () => {
  it('is a file like any other, but nothing to keep in memory', { timeout: 60_000 }, async () => {
    stub.replies((_seen, response) => long(response))
    expect(await session().file.download('/big', join(folder, 'big'))).toMatchObject({
      success: true,
      bytesReceived: LONG,
    })
    expect((await stat(join(folder, 'big'))).size).toBe(LONG)
    const api = new Client({ endpoint: stub.endpoint, timeoutMs: 30_000 }, { apiKey: 'k' })
    const error = await api.listSessions({}).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({ message: `the answer is longer than ${128 << 20} bytes` })
  })
})
