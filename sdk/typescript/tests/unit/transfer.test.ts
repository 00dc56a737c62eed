/** Transfers that no real server makes: longer, slower and more broken ones. */

import { truncateSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AGB, APIError, Client, FileError, Session } from '../../src/index.js'
import { Stub } from './stub.js'

const stub = new Stub()
const session = () =>
  new Session(stub.agb(), 's-1')._reachedBy({ linkUrl: `${stub.endpoint}/link/s-1`, token: 't-1' })

function throwing(): Session<true> {
  const agb = new AGB({ apiKey: 'k', config: { endpoint: stub.endpoint }, throwOnError: true })
  return new Session(agb, 's-1')._reachedBy({ linkUrl: `${stub.endpoint}/link/s-1`, token: 't-1' })
}

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

describe('what goes wrong on this machine', () => {
  it('is no lost connection: a download that cannot be kept', async () => {
    stub.replies(() => ({}))
    const place = join(folder, 'place')
    await mkdir(join(place, 'taken/by'), { recursive: true })
    for (const to of [join(place, 'none/a'), join(place, 'taken')]) {
      const error = await throwing()
        .file.download('/a', to)
        .catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(FileError)
      expect(error).toMatchObject({
        message: expect.stringContaining(`could not write ${to}: `),
        cause: { code: expect.stringMatching(/^E/) },
      })
    }
    // A place that cannot be written is found before anything is asked for.
    expect(stub.seen).toHaveLength(1)
    expect(await readdir(place)).toEqual(['taken'])
  })

  it('is no lost connection: a file that becomes shorter', async () => {
    stub.replies(() => ({}))
    const from = join(folder, 'shrinks')
    await writeFile(from, Buffer.alloc(1 << 20))
    const progressCallback = () => truncateSync(from, 70_000)
    const error = await throwing()
      .file.upload(from, '/a', { progressCallback })
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(FileError)
    expect(error).toMatchObject({ message: `${from} became shorter while it was read` })
  })

  it('does not keep an empty file from being one', async () => {
    stub.replies(() => ({}))
    await writeFile(join(folder, 'empty'), '')
    expect(await session().file.upload(join(folder, 'empty'), '/a')).toMatchObject({
      success: true,
      bytesSent: 0,
    })
    expect(stub.seen).toMatchObject([{ body: '', headers: { 'content-length': '0' } }])
  })
})
