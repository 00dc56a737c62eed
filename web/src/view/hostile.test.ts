/**
 * What a hostile session may send: real messages of a server, damaged. Whatever they say, the page draws inside of its
 * canvas or says that they are malformed. `BERTH_FUZZ_RUNS=1000000` goes on for longer.
 */

import { constants, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ArraySurface } from './array-surface.ts'
import { MalformedError } from './bytes.ts'
import { TileDecoder } from './decoder.ts'
import { Painter } from './painter.ts'
import { readRow } from './seeds.testing.ts'
import { Stream } from './stream.ts'
import { jpegSize, MotionDecoder } from './video.ts'
import { decode } from './wire.ts'

const RUNS = Number(process.env.BERTH_FUZZ_RUNS ?? 3000)
vi.setConfig({ testTimeout: 10_000 + RUNS * 5 })
const [WIDTH, HEIGHT] = [64, 48]
const SESSIONS = [readRow('canvas/deflated'), readRow('canvas/plain')] as const
const OPS = SESSIONS[1].filter((message) => message[0] === 3).map((message) => message.slice(9))
const HELLO = Uint8Array.of(1, 1, WIDTH, 0, HEIGHT, 0, 1)

type Bytes = Uint8Array<ArrayBuffer>

/** One thing that is done to bytes; places are parts of their length. */
const byte = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 0x7f, 0x80, 0xff), fc.nat(255))
const place = fc.double({ min: 0, max: 1, noNaN: true })
const damage = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: place, byte }),
  // Heads are short, and most of what is decided is decided there.
  fc.record({ kind: fc.constant('head' as const), at: fc.nat(24), byte }),
  fc.record({ kind: fc.constant('cut' as const), at: place, length: fc.nat(40) }),
  fc.record({ kind: fc.constant('end' as const), at: place }),
  fc.record({ kind: fc.constant('repeat' as const), at: place, length: fc.nat(200), to: place }),
)
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never

function damaged(whole: Bytes, damages: readonly Damage[]): Bytes {
  let bytes = whole
  for (const damage of damages) {
    const last = Math.max(0, bytes.length - 1)
    const at = damage.kind === 'head' ? Math.min(damage.at, last) : Math.floor(damage.at * last)
    if (damage.kind === 'set' || damage.kind === 'head') {
      bytes = joined(bytes.subarray(0, at), [damage.byte], bytes.subarray(at + 1))
    } else if (damage.kind === 'cut') {
      bytes = joined(bytes.subarray(0, at), bytes.subarray(at + damage.length))
    } else if (damage.kind === 'end') {
      bytes = bytes.slice(0, at)
    } else {
      const to = Math.floor(damage.to * last)
      bytes = joined(bytes.subarray(0, to), bytes.subarray(at, at + damage.length), bytes.subarray(to))
    }
  }
  return bytes
}

function joined(...parts: Iterable<number>[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

const damages = fc.array(damage, { minLength: 1, maxLength: 5 })
const message = fc
  .tuple(fc.constantFrom(...SESSIONS.flat()), damages)
  .map(([message, damages]) => damaged(message, damages))
const operations = fc
  .tuple(fc.array(fc.constantFrom(...OPS), { minLength: 1, maxLength: 2 }), damages)
  .map(([ops, damages]) => damaged(joined(...ops), damages))

/** Runs `take`, which may fail as malformed and in no other way. */
function orMalformed(take: () => void): void {
  try {
    take()
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
  }
}

/** Decoders as browsers have them, which check the sizes that reach them. */
beforeEach(() => {
  const area = (bytes: Uint8Array<ArrayBuffer>) => {
    const { width, height } = jpegSize(bytes)
    if (width > WIDTH || height > HEIGHT) throw new Error('a picture larger than the screen was let through')
  }
  vi.stubGlobal('createImageBitmap', async (blob: Blob) => {
    area(new Uint8Array(await blob.arrayBuffer()))
    return { close: () => {} }
  })
  vi.stubGlobal(
    'EncodedVideoChunk',
    class {
      readonly init: { timestamp: number; data: Uint8Array }
      constructor(init: { timestamp: number; data: Uint8Array }) {
        this.init = init
      }
    },
  )
  vi.stubGlobal(
    'VideoDecoder',
    class {
      state = 'unconfigured'
      readonly init: { output: (frame: unknown) => void }
      constructor(init: { output: (frame: unknown) => void }) {
        this.init = init
      }
      configure() {
        this.state = 'configured'
      }
      decode({ init: { timestamp, data } }: { init: { timestamp: number; data: Uint8Array } }) {
        const side = (at: number) => ((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8)) & 0x3fff
        const isKey = ((data[0] ?? 1) & 1) === 0
        if (isKey && (side(6) > WIDTH || side(8) > HEIGHT)) {
          throw new Error('a frame larger than the screen was let through')
        }
        this.init.output({ timestamp, close: () => {} })
      }
      close() {
        this.state = 'closed'
      }
    },
  )
})

afterEach(() => {
  vi.unstubAllGlobals()
})

test('a damaged message is a message or malformed', () => {
  fc.assert(
    fc.property(message, (bytes) => orMalformed(() => decode(bytes))),
    { numRuns: RUNS },
  )
})

test('damaged operations paint inside of the canvas or are malformed', () => {
  const painter = new Painter()
  fc.assert(
    fc.property(operations, (ops) => {
      const surface = new ArraySurface(WIDTH, HEIGHT)
      orMalformed(() => painter.paint(ops, surface))
    }),
    { numRuns: RUNS },
  )
})

/** A message of damaged operations in a stream of its own that is whole, so that they are reached. */
function deflated(ops: Bytes): Bytes {
  const body = deflateRawSync(ops, { finishFlush: constants.Z_SYNC_FLUSH })
  const head = new Uint8Array(13)
  new DataView(head.buffer).setUint32(9, ops.length, true)
  head[0] = 2
  return joined(head, body)
}

test('a connection of damaged messages ends as malformed or shows a picture', async () => {
  const any = fc.oneof(message, operations.map(deflated), fc.constantFrom(...SESSIONS.flat()))
  const property = fc.asyncProperty(fc.array(any, { maxLength: 12 }), async (messages) => {
    const surface = new ArraySurface(1, 1)
    const failures: MalformedError[] = []
    const nothing = () => {}
    const stream = new Stream(
      surface,
      { bufferedAmount: 0, send: nothing },
      {
        ...{
          onPicture: nothing,
          onPainted: nothing,
          onCursor: nothing,
          onClipboard: nothing,
          onRoom: nothing,
        },
        ...{ onPeer: nothing, onSound: nothing, onMalformed: (error) => failures.push(error) },
      },
    )
    stream.receive(HELLO.buffer)
    // A larger screen finds nothing more, and slowly.
    for (const bytes of messages.filter(([kind]) => kind !== 1)) stream.receive(bytes.buffer)
    await new Promise((resolve) => setImmediate(resolve))
    stream.close()
    expect(failures.length).toBeLessThanOrEqual(1)
    // The stream's word for an error that none of its parts has foreseen.
    for (const { message, cause } of failures)
      expect(message, String(cause)).not.toBe('the picture could not be painted')
  })
  await fc.assert(property, { numRuns: Math.ceil(RUNS / 10) })
})

test('no memory is kept for a length that the bytes cannot make', async () => {
  const decoder = new TileDecoder()
  decoder.reset(4096, 4096)
  const update = { seq: 1, inputSeq: 0, body: new Uint8Array(100) }
  const decoding = decoder.decode({ kind: 'deflated', update, inflatedLength: 90 << 20 })
  await expect(decoding).rejects.toThrow('an update of 94371840 bytes in 100 of deflate')
  decoder.dispose()
})

test('an operation that paints nothing is malformed: it would cost time that no budget bounds', () => {
  const fill = Uint8Array.of(2, 0, 0, 0, 0, 0, 0, HEIGHT, 0, 1, 2, 3)
  expect(() => new Painter().paint(fill, new ArraySurface(WIDTH, HEIGHT))).toThrow('paints nothing')
})

test('a frame cannot draw without end, nor bring a key frame in disguise', async () => {
  const motion = new MotionDecoder(() => {})
  motion.reset(WIDTH, HEIGHT)
  const [whole] = SESSIONS[0].filter((message) => message[0] === 4).map(decode)
  if (whole?.kind !== 'video') throw new Error('the seed begins with no key frame')
  const all = { x: 0, y: 0, width: WIDTH, height: HEIGHT }
  await motion.decode({ ...whole, rects: Array(8).fill(all) })
  await expect(motion.decode({ ...whole, rects: Array(9).fill(all) })).rejects.toThrow('more than 8 times')
  const body = whole.update.body.with(7, 0x3f)
  const disguised = { ...whole, keyFrame: false, update: { ...whole.update, body } }
  await expect(motion.decode(disguised)).rejects.toThrow('another kind than its message says')
  motion.dispose()
})
