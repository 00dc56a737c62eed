/** Streams whose other end stalls, breaks or refuses. */

import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Session } from '../../src/index.js'
import { Peer } from './peer.js'
import { Stub } from './stub.js'

const stub = new Stub()
const END = { phase: 'end', status: 'finished' }
const streamed = { streamBeta: true }

function session(timeoutMs?: number): Session {
  const wsUrl = `${stub.endpoint.replace('http', 'ws')}/ws/s-1`
  return new Session(stub.agb(timeoutMs), 's-1')._reachedBy({ wsUrl, token: 't-1' })
}

/** The next WebSocket that is opened. */
function peer(): Promise<Peer> {
  return new Promise((resolve) => {
    stub.upgrades((request, connection) => resolve(new Peer(request, connection)))
  })
}

/** The next request for a WebSocket, which gets no answer. */
function asked(): Promise<Duplex> {
  return new Promise((resolve) => stub.upgrades((_request, connection) => resolve(connection)))
}

function closed(connection: Duplex): Promise<unknown> {
  connection.resume()
  return new Promise((resolve) => connection.once('end', resolve))
}

const useTimers = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
afterEach(() => void vi.useRealTimers())

describe('a stream', () => {
  it('that cannot be opened again fails alone, and nobody asks why the one before was closed', async () => {
    stub.replies(() => ({}))
    const there = session()
    const opened = peer()
    const first = there.code.run('1', 'python', 60, streamed)
    const other = await opened
    stub.upgrades((_request, connection) => void connection.end('HTTP/1.1 503 Busy\r\n\r\n'))
    other.say(await other.hear(), END)
    expect(await first).toMatchObject({ success: true })
    const second = there.code.run('2', 'python', 60, streamed)
    other.hangUp()
    expect(await second).toMatchObject({
      success: false,
      errorMessage: 'the stream could not be opened',
    })
    await other.gone
    expect(stub.seen.map(({ path }) => path)).toEqual(['/mcp/getSession'])
    const again = peer()
    const third = there.code.run('3', 'python', 60, streamed)
    const late = await again
    late.say(await late.hear(), END)
    expect(await third).toMatchObject({ success: true })
  })

  it('is opened within the limits of its call, and closed when they are reached', async () => {
    let connection = asked()
    const late = session().code.run('1', 'python', 60, { ...streamed, timeoutMs: 100 })
    const first = closed(await connection)
    expect(await late).toMatchObject({ success: false, errorMessage: 'the stream took longer than 100 ms' })
    await first
    connection = asked()
    const stop = new AbortController()
    const stopped = session().code.run('1', 'python', 60, { ...streamed, signal: stop.signal })
    const second = closed(await connection)
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(stopped).rejects.toBe(reason)
    await second
    useTimers()
    connection = asked()
    const slow = session().code.run('1', 'python', 60, streamed)
    const third = closed(await connection)
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await slow).toMatchObject({
      success: false,
      errorMessage: 'opening the stream took longer than 30000 ms',
    })
    await third
  })

  it('ends when nothing is heard for as long as its code may take, and some more', async () => {
    useTimers()
    const opened = peer()
    const stalled = session(50).code.run('1', 'python', 5, streamed)
    const other = await opened
    await other.hear()
    await vi.advanceTimersByTimeAsync(35_000)
    expect(await stalled).toMatchObject({
      success: false,
      errorMessage: 'the stream took longer than 35000 ms',
    })
    expect(await other.hear()).toMatchObject({ data: { method: 'stop' } })
  })

  it('tells an exception by its own names and by those of the session', async () => {
    const errors: unknown[] = []
    const opened = peer()
    const onError = (error: unknown) => errors.push(error)
    const run = session().code.run('1', 'python', 60, { ...streamed, onError })
    const other = await opened
    const asked = await other.hear()
    const said = { code: 'NameError', message: 'no x', traceId: 't' }
    const told = { name: 'NameError', value: 'no x', traceback: 'traceId=t' }
    other.say(asked, { phase: 'event', eventType: 'error', error: said })
    other.say(asked, END)
    expect((await run).error).toEqual(told)
    expect(errors).toEqual([{ ...said, ...told }])
  })

  it('takes any time that is a time', async () => {
    const opened = peer()
    const long = session().code.run('1', 'python', 60, { ...streamed, timeoutMs: 2 ** 40 })
    const other = await opened
    other.say(await other.hear(), END)
    expect(await long).toMatchObject({ success: true })
    expect(await session().code.run('1', 'python', 60, { ...streamed, timeoutMs: 0 })).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('`timeoutMs` is 0'),
    })
  })

  it('is over when the other end does not agree that it is', async () => {
    useTimers()
    const opened = peer()
    const run = session().code.run('1', 'python', 60, streamed)
    const other = await opened
    other.say(await other.hear(), END)
    expect(await run).toMatchObject({ success: true })
    await vi.advanceTimersByTimeAsync(2000)
    await other.gone
  })
})
