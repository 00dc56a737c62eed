import { constants, createDeflateRaw, deflateRawSync } from 'node:zlib'
import { afterEach, expect, test, vi } from 'vitest'
import { MalformedError } from './bytes.ts'
import { canInflate, Inflater, STARVED_MS } from './inflate.ts'

/** The server's end: one stream, flushed after each piece. */
class Deflater {
  readonly #stream = createDeflateRaw({ level: 3 })
  #out: Buffer[] = []

  constructor() {
    this.#stream.on('data', (part: Buffer) => this.#out.push(part))
  }

  piece(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve) => {
      this.#stream.write(bytes)
      this.#stream.flush(constants.Z_SYNC_FLUSH, () => {
        resolve(Uint8Array.from(Buffer.concat(this.#out)))
        this.#out = []
      })
    })
  }
}

const sample = (length: number, step: number) =>
  Uint8Array.from({ length }, (_, at) => ((at * step) >> 3) & 0xff)

afterEach(() => {
  vi.useRealTimers()
})

test('this runtime inflates, as every current browser does', () => {
  expect(canInflate()).toBe(true)
})

test('pieces of one stream come out one by one, each of its own length', async () => {
  const [deflater, inflater] = [new Deflater(), new Inflater()]
  for (const length of [1, 300, 200_000, 7, 1_000_000, 12]) {
    const piece = sample(length, length % 13)
    const inflated = await inflater.inflate(await deflater.piece(piece), length)
    // Not `toEqual`, which takes seconds for a million bytes.
    expect(Buffer.compare(inflated, piece)).toBe(0)
  }
})

test('pieces that arrive while others are still inflating keep their order', async () => {
  const [deflater, inflater] = [new Deflater(), new Inflater()]
  const pieces = [40_000, 3, 90_000, 500].map((length) => sample(length, 5))
  const deflated = []
  for (const piece of pieces) deflated.push(await deflater.piece(piece))
  const inflated = await Promise.all(
    deflated.map((piece, at) => inflater.inflate(piece, pieces[at]?.length ?? 0)),
  )
  expect(inflated).toEqual(pieces)
})

test('later pieces refer to earlier ones: a repeated picture costs a few bytes', async () => {
  const [deflater, inflater] = [new Deflater(), new Inflater()]
  const noise = Uint8Array.from({ length: 4000 }, (_, at) => (Math.imul(at, 0x9e3779b1) >>> 13) & 0xff)
  await inflater.inflate(await deflater.piece(noise), noise.length)
  const again = await deflater.piece(noise)
  expect(again.length).toBeLessThan(100)
  expect(await inflater.inflate(again, noise.length)).toEqual(noise)
})

test('bytes that are no deflate data are malformed', async () => {
  const inflater = new Inflater()
  await expect(inflater.inflate(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 10)).rejects.toThrow(MalformedError)
})

test('more bytes than announced are malformed', async () => {
  const inflater = new Inflater()
  const piece = await new Deflater().piece(sample(100, 3))
  await expect(inflater.inflate(piece, 60)).rejects.toThrow(MalformedError)
})

/** Waits out the patience of an inflater that gets no output, on a clock that runs only then. */
async function starve(inflating: () => Promise<unknown>): Promise<unknown> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const outcome = inflating().catch((error: unknown) => error)
  await vi.waitFor(() => expect(vi.getTimerCount()).toBe(1))
  await vi.advanceTimersByTimeAsync(STARVED_MS)
  return outcome
}

test('fewer bytes than announced are malformed, and not waited for', async () => {
  const inflater = new Inflater()
  const piece = await new Deflater().piece(sample(10, 3))
  const error = await starve(() => inflater.inflate(piece, 60))
  expect(error).toBeInstanceOf(MalformedError)
  expect(error).toHaveProperty('message', 'an update inflates to 50 bytes fewer than it announced')
})

test('a stream that says it has ended is malformed when more is due', async () => {
  const inflater = new Inflater()
  const all = Uint8Array.from(deflateRawSync(sample(100, 3)))
  await inflater.inflate(all, 100)
  // Browsers refuse the further bytes at once; Node's inflater swallows them.
  expect(await starve(() => inflater.inflate(Uint8Array.of(1, 2, 3), 10))).toBeInstanceOf(MalformedError)
})
