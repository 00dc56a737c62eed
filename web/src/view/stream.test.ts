import { deflateRawSync } from 'node:zlib'
import { afterEach, expect, test, vi } from 'vitest'
import { ArraySurface } from './array-surface.ts'
import type { MalformedError } from './bytes.ts'
import { Stream } from './stream.ts'

const u16 = (value: number) => [value & 0xff, value >> 8]
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)]
const hello = (width: number, height: number) => [1, 1, ...u16(width), ...u16(height)]
const plain = (seq: number, inputSeq: number, ops: number[]) => [3, ...u32(seq), ...u32(inputSeq), ...ops]
const fillAll = (width: number, height: number, grey: number) => [
  ...[2, 0, 0, 0, 0, ...u16(width), ...u16(height)],
  ...[grey, grey, grey],
]

/** A stream with what it said: to the server in `sent`, to its owner in `events`. */
function setUp() {
  const surface = new ArraySurface(1, 1)
  const sent: number[][] = []
  const events: string[] = []
  const outlet = {
    bufferedAmount: 0,
    send: (message: Uint8Array) => {
      sent.push([...message])
    },
  }
  const stream = new Stream(surface, outlet, {
    onPicture: (width, height) => events.push(`picture ${width}x${height}`),
    onPainted: () => events.push('painted'),
    onCursor: ({ width, height }) => events.push(`cursor ${width}x${height}`),
    onClipboard: ({ kind }) => events.push(`clipboard ${kind}`),
    onRoom: ({ you }) => events.push(`room of ${you}`),
    onPeer: ({ action }) => events.push(`peer ${action}`),
    onSound: (seq, packet) => events.push(`sound ${seq} ${packet.length}`),
    onMalformed: (error: MalformedError) => events.push(`malformed: ${error.message}`),
  })
  const receive = (bytes: number[]) => stream.receive(Uint8Array.from(bytes).buffer)
  return { surface, sent, events, outlet, stream, receive }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

afterEach(() => {
  vi.unstubAllGlobals()
})

test('an update is acknowledged when it arrives and when it is painted', async () => {
  const { surface, sent, events, receive } = setUp()
  receive(hello(2, 1))
  receive(plain(7, 0, fillAll(2, 1, 5)))
  expect(sent).toEqual([[2, 7, 0, 0, 0]])
  await settled()
  expect(sent).toEqual([
    [2, 7, 0, 0, 0],
    [3, 7, 0, 0, 0],
  ])
  expect(surface.rows).toEqual([['050505', '050505']])
  expect(events).toEqual(['picture 2x1', 'painted'])
})

test('updates are painted in order, whichever is decoded first', async () => {
  const { surface, sent, receive } = setUp()
  receive(hello(1, 1))
  const ops = Uint8Array.from(fillAll(1, 1, 1))
  receive([2, ...u32(1), ...u32(0), ...u32(ops.length), ...deflateRawSync(ops)])
  receive(plain(2, 0, fillAll(1, 1, 2)))
  await vi.waitFor(() => expect(sent).toHaveLength(4))
  expect(sent.slice(2)).toEqual([
    [3, 1, 0, 0, 0],
    [3, 2, 0, 0, 0],
  ])
  expect(surface.rows).toEqual([['020202']])
})

test('the old picture stays until the first update of the new one', async () => {
  const { surface, events, receive } = setUp()
  receive(hello(1, 1))
  receive(plain(1, 0, fillAll(1, 1, 1)))
  await settled()
  receive(hello(2, 1))
  await settled()
  expect(surface.rows).toEqual([['010101']])
  receive(plain(2, 0, fillAll(1, 1, 2)))
  await settled()
  expect(surface.rows).toEqual([['020202', '000000']])
  expect(events).toEqual(['picture 1x1', 'painted', 'picture 2x1', 'painted'])
})

test('a new hello begins a new deflate stream', async () => {
  const { sent, events, receive } = setUp()
  for (const seq of [1, 2]) {
    receive(hello(1, 1))
    const ops = Uint8Array.from(fillAll(1, 1, seq))
    receive([2, ...u32(seq), ...u32(0), ...u32(ops.length), ...deflateRawSync(ops)])
  }
  await vi.waitFor(() => expect(sent).toHaveLength(4))
  expect(events.filter((event) => event.startsWith('malformed'))).toEqual([])
})

/** A frame that is drawn on all of a screen of 1x1. */
const frame = (seq: number, key: boolean, codec: number, packet: number[]) => [
  ...[4, ...u32(seq), ...u32(0), key ? 1 : 0, codec],
  ...[1, 0, 0, 0, 0, 0, 1, 0, 1, 0, ...packet],
]
const keyPacket = (width: number, height: number) => [
  0,
  0,
  0,
  0x9d,
  0x01,
  0x2a,
  ...u16(width),
  ...u16(height),
]

/** A `VideoDecoder` that answers as `respond` says. */
function stubDecoder(
  respond: (output: (frame: unknown) => void, error: () => void, timestamp: number) => void,
) {
  vi.stubGlobal(
    'EncodedVideoChunk',
    class {
      init: { timestamp: number }
      constructor(init: { timestamp: number }) {
        this.init = init
      }
    },
  )
  vi.stubGlobal(
    'VideoDecoder',
    class {
      state = 'configured'
      callbacks: { output: (frame: unknown) => void; error: () => void }
      constructor(callbacks: { output: (frame: unknown) => void; error: () => void }) {
        this.callbacks = callbacks
      }
      configure() {}
      close() {
        this.state = 'closed'
      }
      decode(chunk: { init: { timestamp: number } }) {
        const { output, error } = this.callbacks
        queueMicrotask(() => respond(output, error, chunk.init.timestamp))
      }
    },
  )
}

test('a video frame is drawn, in its turn', async () => {
  stubDecoder((output, _, timestamp) => output({ timestamp, close() {} }))
  const { surface, sent, receive } = setUp()
  receive(hello(1, 1))
  receive(frame(1, true, 0, keyPacket(1, 1)))
  receive(plain(2, 0, []))
  receive(frame(3, false, 0, [1, 2, 3]))
  await vi.waitFor(() => expect(sent).toHaveLength(6))
  expect(sent.slice(-3).map(([kind, seq]) => [kind, seq])).toEqual([
    [3, 1],
    [3, 2],
    [3, 3],
  ])
  expect(surface.rows).toEqual([['777777']])
})

test('a decoder that fails asks for a key frame, then for no video; the updates go on', async () => {
  stubDecoder((_, error) => error())
  const { surface, sent, receive } = setUp()
  receive([...hello(1, 1), 1])
  receive(frame(1, true, 0, keyPacket(1, 1)))
  receive(frame(2, false, 0, [1]))
  await vi.waitFor(() => expect(sent.filter(([kind]) => kind === 3)).toHaveLength(2))
  expect(sent.filter(([kind]) => kind === 10)).toEqual([[10, 0]])
  receive(frame(3, true, 0, keyPacket(1, 1)))
  await vi.waitFor(() => expect(sent.filter(([kind]) => kind === 3)).toHaveLength(3))
  expect(sent.filter(([kind]) => kind === 10)).toEqual([
    [10, 0],
    [10, 1],
  ])
  expect(surface.rows).toEqual([['000000']])
})

test.each([
  ['a key frame of another size', frame(1, true, 0, keyPacket(2, 1))],
  ['an area outside of the screen', [4, ...u32(1), ...u32(0), 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0]],
  ['an unknown codec', frame(1, true, 9, [])],
  ['a picture of another size', frame(1, true, 1, [...u32(11), 0xff, 0xd8, 0xff, 0xc0, 0, 9, 8, 0, 1, 0, 2])],
  ['a picture that is none', frame(1, true, 1, [...u32(3), 1, 2, 3])],
])('%s is malformed', async (_, message) => {
  stubDecoder(() => {})
  const { events, receive } = setUp()
  receive(hello(1, 1))
  receive(message)
  await vi.waitFor(() => expect(events).toHaveLength(1))
  expect(events[0]).toMatch(/^malformed: /)
})

test('unknown kinds are ignored', async () => {
  const { sent, receive } = setUp()
  receive(hello(1, 1))
  receive([99, 1, 2, 3])
  await settled()
  expect(sent).toEqual([])
})

test('a cursor is passed on', () => {
  const { events, receive } = setUp()
  receive([5, 0, 0, 0, 0, 0, 0, 0, 0])
  expect(events).toEqual(['cursor 0x0'])
})

test.each<[string, number[][]]>([
  ['a picture before the hello', [plain(1, 0, [])]],
  ['an empty message', [[]]],
  ['an operation outside the screen', [hello(1, 1), plain(1, 0, fillAll(2, 2, 1))]],
  [
    'an update that announces more than a screen holds',
    [hello(1, 1), [2, ...u32(1), ...u32(0), ...u32(1 << 30)]],
  ],
  ['deflate data that is none', [hello(1, 1), [2, ...u32(1), ...u32(0), ...u32(5), 0xff, 0xff, 0xff]]],
  ['a flood without acknowledgements', [hello(1, 1), ...Array.from({ length: 65 }, () => plain(1, 0, []))]],
])('%s ends the stream, once', async (_, messages) => {
  const { events, receive, sent } = setUp()
  for (const message of messages) receive(message)
  await vi.waitFor(() => expect(events.some((event) => event.startsWith('malformed'))).toBe(true))
  const before = [events.length, sent.length]
  receive(hello(1, 1))
  receive(plain(9, 0, []))
  await settled()
  expect([events.length, sent.length]).toEqual(before)
  expect(events.filter((event) => event.startsWith('malformed'))).toHaveLength(1)
})

test('a text message ends the stream', () => {
  const { events, stream } = setUp()
  stream.receive('hello')
  expect(events).toEqual(['malformed: the server sent a text message'])
})

test('inputs are numbered, and moves yield to a crowded socket', () => {
  const { sent, stream, outlet } = setUp()
  stream.send({ kind: 'pointer', x: 1, y: 1 })
  stream.send({ kind: 'text', text: 'a'.repeat(70_000) })
  outlet.bufferedAmount = 1 << 20
  stream.send({ kind: 'pointer', x: 2, y: 2 })
  stream.send({ kind: 'release-all' })
  expect(sent.map((message) => [message[0], message[1]])).toEqual([
    [4, 1],
    [8, 2],
    [8, 3],
    [9, 4],
  ])
  expect(stream.inputSeq).toBe(4)
})

test('the latency is the time from an input to the picture that answers it', async () => {
  const { stream, receive } = setUp()
  const clock = vi.spyOn(performance, 'now')
  receive(hello(1, 1))
  clock.mockReturnValue(100)
  stream.send({ kind: 'pointer', x: 1, y: 1 })
  clock.mockReturnValue(130)
  receive(plain(1, 1, []))
  await settled()
  expect(stream.latency.ms).toBe(30)
  expect(stream.latency.acknowledged).toBe(1)
  // Numbers that were never sent, and answers that come long after, say nothing.
  receive(plain(2, 900, []))
  await settled()
  expect(stream.latency.acknowledged).toBe(1)
  stream.send({ kind: 'pointer', x: 2, y: 2 })
  clock.mockReturnValue(9000)
  receive(plain(3, 2, []))
  await settled()
  expect(stream.latency.ms).toBe(30)
  expect(stream.latency.acknowledged).toBe(2)
})
