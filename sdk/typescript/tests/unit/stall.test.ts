/** Transfers of which no byte moves. Time is the test's, from the first connection on. */

import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Session } from '../../src/index.js'
import { passing } from './passing.js'
import { Stub } from './stub.js'

vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
const stub = new Stub()
const STALLED = { success: false, errorMessage: expect.stringContaining('no byte moved for 60000 ms') }

function session(link = stub.endpoint): Session {
  return new Session(stub.agb(), 's-1')._reachedBy({ linkUrl: `${link}/link/s-1`, token: 't-1' })
}

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-sdk-stall-'))
})
beforeEach(() => void vi.clearAllTimers())
afterAll(async () => {
  vi.useRealTimers()
  await rm(folder, { recursive: true })
})

describe('a transfer that stalls', () => {
  it('fails: an upload that is not taken', async () => {
    const deaf = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
    await new Promise((resolve) => deaf.once('listening', resolve))
    const { port } = deaf.address() as { port: number }
    await writeFile(join(folder, 'from'), '')
    await truncate(join(folder, 'from'), 64 << 20)
    const upload = session(`http://127.0.0.1:${port}`).file.upload(join(folder, 'from'), '/a')
    expect(await passing(upload, 1000)).toMatchObject(STALLED)
    deaf.close()
  })

  it('fails: a download that is not answered, or stops', async () => {
    const place = join(folder, 'to')
    stub.replies(() => undefined)
    expect(await passing(session().file.download('/a', place), 1000)).toMatchObject(STALLED)
    stub.replies((_seen, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('begun')
    })
    expect(await passing(session().file.download('/a', place), 1000)).toMatchObject(STALLED)
    expect(await readdir(folder)).toEqual(['from'])
  })

  it('goes on as long as something moves', async () => {
    let response: ServerResponse | undefined
    stub.replies((_seen, begun) => {
      response = begun
      begun.write('.')
    })
    let heard = () => {}
    const next = () =>
      new Promise<void>((resolve) => {
        heard = resolve
      })
    let moved = next()
    const download = session().file.download('/a', join(folder, 'slow'), { progressCallback: () => heard() })
    for (let times = 0; times < 3; times += 1) {
      await moved
      moved = next()
      await vi.advanceTimersByTimeAsync(50_000)
      response?.write('.')
    }
    await moved
    response?.end()
    expect(await download).toMatchObject({ success: true, bytesReceived: 4 })
  })

  it('leaves no timer behind where its URL is none', async () => {
    expect(await session('no url').file.download('/a', join(folder, 'none'))).toMatchObject({
      success: false,
    })
    expect(vi.getTimerCount()).toBe(0)
  })
})
