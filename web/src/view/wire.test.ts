import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MalformedError, Reader } from './bytes.ts'
import {
  Button,
  decode,
  encodeHello,
  encodeInput,
  encodePainted,
  encodeReceived,
  type Input,
  textPieces,
} from './wire.ts'

const bytes = (...values: number[]) => Uint8Array.from(values)

test('a hello names the size of the screen', () => {
  const hello = { kind: 'hello', width: 1280, height: 720 }
  expect(decode(bytes(1, 1, 0x00, 0x05, 0xd0, 0x02))).toEqual({ ...hello, takesRequests: false })
  expect(decode(bytes(1, 1, 0x00, 0x05, 0xd0, 0x02, 1))).toEqual({ ...hello, takesRequests: true })
})

test.each([
  ['another version', bytes(1, 2, 0, 5, 208, 2)],
  ['no width', bytes(1, 1, 0, 0, 208, 2)],
  ['no height', bytes(1, 1, 0, 5, 0, 0)],
  ['a width beyond every screen', bytes(1, 1, 1, 32, 208, 2)],
])('a hello with %s is malformed', (_, message) => {
  expect(() => decode(message)).toThrow(MalformedError)
})

test('an update names itself, the input it answers, and the length of what it inflates to', () => {
  const message = decode(bytes(2, 4, 3, 2, 0x81, 9, 0, 0, 0, 0, 1, 0, 0, 0xaa, 0xbb))
  expect(message).toEqual({
    kind: 'deflated',
    update: { seq: 0x81020304, inputSeq: 9, body: bytes(0xaa, 0xbb) },
    inflatedLength: 256,
  })
})

test('a plain update has no length, a video update names its codec', () => {
  expect(decode(bytes(3, 1, 0, 0, 0, 2, 0, 0, 0, 7))).toEqual({
    kind: 'plain',
    update: { seq: 1, inputSeq: 2, body: bytes(7) },
  })
  expect(decode(bytes(4, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7))).toEqual({
    kind: 'video',
    update: { seq: 1, inputSeq: 2, body: bytes(7) },
    keyFrame: true,
    codec: 0,
    rects: [{ x: 3, y: 4, width: 5, height: 6 }],
  })
})

test('a cursor carries exactly its pixels', () => {
  expect(decode(bytes(5, 1, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4))).toEqual({
    kind: 'cursor',
    cursor: { width: 1, height: 1, hotX: 0, hotY: 0, rgba: bytes(1, 2, 3, 4) },
  })
  expect(() => decode(bytes(5, 1, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3))).toThrow(MalformedError)
  expect(() => decode(bytes(5, 1, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5))).toThrow(MalformedError)
  expect(() => decode(bytes(5, 255, 255, 255, 255, 0, 0, 0, 0))).toThrow(MalformedError)
})

test('a kind of a newer server is told apart from nonsense', () => {
  expect(decode(bytes(77, 1, 2, 3))).toEqual({ kind: 'unknown', code: 77 })
  expect(() => decode(bytes())).toThrow(MalformedError)
})

test('any bytes are either a message or malformed, and never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (message) => {
      try {
        decode(Uint8Array.from(message))
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError)
      }
    }),
  )
})

test('the page says hello with its window and what it can', () => {
  expect(encodeHello({ width: 1280.4, height: 99999 }, 1)).toEqual(bytes(1, 1, 0x00, 0x05, 0xff, 0xff, 1))
})

test('acknowledgements carry the number of the update', () => {
  expect(encodeReceived(0xfffefdfc)).toEqual(bytes(2, 0xfc, 0xfd, 0xfe, 0xff))
  expect(encodePainted(1)).toEqual(bytes(3, 1, 0, 0, 0))
})

test('inputs have the layout that the server reads', () => {
  const cases: [Input, Uint8Array][] = [
    [{ kind: 'pointer', x: 258, y: 3 }, bytes(4, 7, 0, 0, 0, 2, 1, 3, 0)],
    [{ kind: 'button', button: Button.back, down: true, x: 1, y: 2 }, bytes(5, 7, 0, 0, 0, 8, 1, 1, 0, 2, 0)],
    [
      { kind: 'wheel', dx: -120, dy: 32767, x: 1, y: 2 },
      bytes(6, 7, 0, 0, 0, 136, 255, 255, 127, 1, 0, 2, 0),
    ],
    [
      { kind: 'key', down: true, repeat: true, modifiers: 5, code: 'KeyA', key: 'é' },
      bytes(7, 7, 0, 0, 0, 3, 5, 4, 75, 101, 121, 65, 2, 0xc3, 0xa9),
    ],
    [
      { kind: 'key', down: false, repeat: false, modifiers: 0, code: '', key: 'a'.repeat(65) },
      bytes(7, 7, 0, 0, 0, 0, 0, 0, 0),
    ],
    [{ kind: 'text', text: '€' }, bytes(8, 7, 0, 0, 0, 3, 0, 0xe2, 0x82, 0xac)],
    [{ kind: 'release-all' }, bytes(9, 7, 0, 0, 0)],
  ]
  for (const [input, expected] of cases) expect(encodeInput(7, input)).toEqual(expected)
})

test('a reader gives back what was written, and nothing past the end', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: -32768, max: 32767 }), (seq, dx) => {
      const reader = new Reader(encodeInput(seq, { kind: 'wheel', dx, dy: 0, x: 3, y: 4 }))
      expect([reader.u8(), reader.u32(), (reader.u16() << 16) >> 16]).toEqual([6, seq, dx])
      expect(reader.rest()).toEqual(bytes(0, 0, 3, 0, 4, 0))
      expect(reader.atEnd).toBe(true)
      expect(() => reader.u8()).toThrow(MalformedError)
    }),
  )
})

test('long text is cut between characters, and nothing of it is lost', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc.integer({ min: 4, max: 20 }),
      (text, max) => {
        const pieces = textPieces(text, max)
        expect(pieces.join('')).toBe(text)
        for (const piece of pieces) {
          expect(new TextEncoder().encode(piece).length).toBeLessThanOrEqual(max)
          expect(new TextDecoder().decode(new TextEncoder().encode(piece))).toBe(piece)
        }
      },
    ),
  )
})
