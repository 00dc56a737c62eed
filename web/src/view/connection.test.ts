import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ArraySurface } from './array-surface.ts'
import { BACKOFF, backoffMs, Connection } from './connection.ts'
import type { View } from './state.ts'

const HELLO = Uint8Array.of(1, 1, 10, 0, 20, 0, 1)

/** A socket whose other end is the test. Fields as in the DOM, as far as they are used. */
class FakeSocket {
  binaryType = ''
  bufferedAmount = 0
  readyState = 0
  closedWith: number | null = null
  readonly sent: number[][] = []
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { reason: string; wasClean: boolean }) => void) | null = null

  send(message: Uint8Array): void {
    this.sent.push([...message])
  }

  close(code: number): void {
    this.closedWith ??= code
    this.readyState = 3
  }

  opens(): void {
    this.readyState = 1
    this.onopen?.()
  }

  says(...bytes: number[]): void {
    this.onmessage?.({ data: Uint8Array.from(bytes).buffer })
  }

  drops(reason = '', wasClean = false): void {
    this.readyState = 3
    this.onclose?.({ reason, wasClean })
  }
}

/** Hello of a screen of one pixel, and its first picture. */
async function shows(socket: FakeSocket): Promise<void> {
  socket.opens()
  socket.says(1, 1, 1, 0, 1, 0)
  socket.says(3, 1, 0, 0, 0, 0, 0, 0, 0)
  await vi.advanceTimersByTimeAsync(0)
}

function setUp() {
  const sockets: FakeSocket[] = []
  const views: View[] = []
  let answer: () => Promise<unknown> = async () => ({ state: 'live' })
  const asked = vi.fn((signal: AbortSignal) => {
    const aborted = new Promise((_, reject) => {
      signal.onabort = () => reject(new Error('aborted'))
    })
    return Promise.race([answer(), aborted])
  })
  const connection = new Connection(
    new ArraySurface(1, 1),
    {
      open: () => {
        const socket = new FakeSocket()
        sockets.push(socket)
        return { socket: socket as unknown as WebSocket, hello: HELLO }
      },
      status: asked,
    },
    {
      onView: (view) => views.push(view),
      ...{ onStatus: () => {}, onPicture: () => {}, onPainted: () => {}, onCursor: () => {} },
      ...{ onClipboard: () => {}, onRoom: () => {}, onPeer: () => {}, onSound: () => {}, onGone: () => {} },
    },
  )
  const last = () => {
    const socket = sockets.at(-1)
    if (!socket) throw new Error('no socket was opened')
    return socket
  }
  const server = (next: () => Promise<unknown>) => {
    answer = next
  }
  return { connection, sockets, views, asked, last, server }
}

const unreachable = () => Promise.reject(new TypeError('failed to fetch'))

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(0)
})

afterEach(() => {
  vi.useRealTimers()
})

test('the page speaks first, and is live with the first picture', async () => {
  const { connection, views, last } = setUp()
  connection.start()
  expect(connection.view.state).toBe('connecting')
  await shows(last())
  expect(last().sent[0]).toEqual([...HELLO])
  expect(views.map((view) => view.state)).toEqual(['connecting', 'live'])
  expect(connection.painted).toBe(1)
})

test('a lost connection is opened again, with growing waits, for as long as it takes', async () => {
  const { connection, sockets, last, server } = setUp()
  connection.start()
  await shows(last())
  await vi.advanceTimersByTimeAsync(5000)
  server(unreachable)
  const waits: number[] = []
  for (let attempt = 1; attempt <= 12; attempt++) {
    const before = sockets.length
    last().drops()
    expect(connection.view).toMatchObject({ state: 'reconnecting', attempt })
    const from = Date.now()
    while (sockets.length === before) await vi.advanceTimersToNextTimerAsync()
    waits.push(Date.now() - from)
  }
  expect(waits.slice(0, 4)).toEqual([250, 400, 640, 1024])
  expect(Math.max(...waits)).toBe(BACKOFF.maxMs)
  await shows(last())
  expect(connection.view.state).toBe('live')
})

test('the reason is what is known best: the close, then the server, then its absence', async () => {
  const { connection, last, server } = setUp()
  server(unreachable)
  connection.start()
  await shows(last())
  last().drops('the server is restarting', true)
  expect(connection.view).toMatchObject({ reason: 'the server is restarting' })
  await vi.advanceTimersByTimeAsync(0)
  expect(connection.view).toMatchObject({ reason: 'the server cannot be reached' })
})

test.each(['expired', 'ended', 'unknown'])('status %s ends the view and all attempts', async (state) => {
  const { connection, sockets, last, server } = setUp()
  connection.start()
  await shows(last())
  server(async () => ({ state, message: 'over' }))
  last().drops()
  await vi.advanceTimersByTimeAsync(0)
  expect(connection.view).toMatchObject({ state: 'ended', message: 'over' })
  await vi.advanceTimersByTimeAsync(60_000)
  connection.wake()
  expect(sockets).toHaveLength(1)
})

test('an answer that is no status is no reason to give up', async () => {
  const { connection, sockets, last, server } = setUp()
  connection.start()
  await shows(last())
  server(async () => '<html>bad gateway</html>')
  last().drops()
  await vi.advanceTimersByTimeAsync(BACKOFF.maxMs)
  expect(sockets.length).toBeGreaterThan(1)
  expect(connection.view.state).toBe('reconnecting')
})

test('a status that comes late does not hold the next attempt back, and still ends it', async () => {
  const { connection, sockets, last, server } = setUp()
  connection.start()
  await shows(last())
  server(() => new Promise((resolve) => setTimeout(() => resolve({ state: 'expired' }), 2000)))
  last().drops()
  await vi.advanceTimersByTimeAsync(500)
  expect(sockets).toHaveLength(2)
  await vi.advanceTimersByTimeAsync(2000)
  expect(connection.view.state).toBe('ended')
  expect(last().closedWith).not.toBeNull()
})

test('waking tries at once', async () => {
  const { connection, sockets, last, server } = setUp()
  server(unreachable)
  connection.start()
  for (let attempt = 0; attempt < 8; attempt++) {
    last().drops()
    await vi.advanceTimersByTimeAsync(BACKOFF.maxMs)
  }
  last().drops()
  const before = sockets.length
  connection.wake()
  expect(sockets).toHaveLength(before + 1)
  await vi.advanceTimersByTimeAsync(BACKOFF.maxMs)
  expect(sockets).toHaveLength(before + 1)
})

test('nonsense from the server closes the connection and opens another', async () => {
  const { connection, sockets, last } = setUp()
  connection.start()
  await shows(last())
  const first = last()
  first.says(3, 2, 0, 0, 0, 0, 0, 0, 0, 99)
  await vi.advanceTimersByTimeAsync(0)
  expect(first.closedWith).toBe(4400)
  expect(connection.view).toMatchObject({ state: 'reconnecting' })
  await vi.advanceTimersByTimeAsync(1000)
  expect(sockets).toHaveLength(2)
  // The close event of the first comes late and is old news.
  first.drops()
  await shows(last())
  expect(connection.view.state).toBe('live')
})

test('a socket that opens but never brings a picture is given up', async () => {
  const { connection, sockets, last } = setUp()
  connection.start()
  last().opens()
  await vi.advanceTimersByTimeAsync(16_000)
  expect(sockets.length).toBeGreaterThan(1)
  expect(sockets[0]?.closedWith).toBe(1000)
  expect(connection.view).toMatchObject({ state: 'connecting', attempt: 2 })
})

test('inputs go out only while the view is live', async () => {
  const { connection, last } = setUp()
  connection.start()
  last().opens()
  connection.send({ kind: 'release-all' })
  expect(last().sent).toHaveLength(1)
  await shows(last())
  connection.send({ kind: 'release-all' })
  expect(last().sent.at(-1)).toEqual([9, 1, 0, 0, 0])
  expect(connection.figures.inputSeq).toBe(1)
})

test('a link that died without a word is noticed by the first input', async () => {
  const { connection, last, server, asked } = setUp()
  connection.start()
  await shows(last())
  asked.mockClear()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(asked).not.toHaveBeenCalled()
  server(() => new Promise(() => {}))
  connection.send({ kind: 'release-all' })
  await vi.advanceTimersByTimeAsync(10_000)
  expect(asked).toHaveBeenCalled()
  expect(connection.view).toMatchObject({ state: 'reconnecting' })
})

test('an input that changes nothing on the screen is no lost link', async () => {
  const { connection, sockets, last, asked } = setUp()
  connection.start()
  await shows(last())
  asked.mockClear()
  connection.send({ kind: 'release-all' })
  await vi.advanceTimersByTimeAsync(30_000)
  expect(asked).toHaveBeenCalledOnce()
  expect(sockets).toHaveLength(1)
  connection.send({ kind: 'release-all' })
  last().says(3, 2, 0, 0, 0, 2, 0, 0, 0)
  await vi.advanceTimersByTimeAsync(30_000)
  expect(asked).toHaveBeenCalledOnce()
})

test('waits are spread, never longer than said, and bounded', () => {
  expect(backoffMs(1, 0)).toBe(250)
  expect(backoffMs(1, 1)).toBe(250 * (1 - BACKOFF.jitter))
  expect(backoffMs(1e6, 0)).toBe(BACKOFF.maxMs)
})
