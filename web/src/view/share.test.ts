import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MalformedError } from './bytes.ts'
import { CLIPBOARD_TEXT_BYTES_MAX, ROOM_BYTES_MAX, SOUND_PACKET_BYTES_MAX } from './share.ts'
import { decode, encodeInput, encodeRequest, Verb } from './wire.ts'

const bytes = (...values: number[]) => Uint8Array.from(values)
const text = (value: string) => [...new TextEncoder().encode(value)]
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

test('the clipboard is text, a picture, or word of what is too long to be sent unasked', () => {
  expect(decode(bytes(6, 0, ...text('€')))).toEqual({
    kind: 'clipboard',
    clipboard: { kind: 'text', text: '€' },
  })
  expect(decode(bytes(6, 1, ...PNG, 9))).toMatchObject({ clipboard: { kind: 'picture' } })
  expect(decode(bytes(6, 2, 0, 0, 32, 0))).toMatchObject({
    clipboard: { kind: 'announced', what: 'text', bytes: 1 << 21 },
  })
  expect(decode(bytes(6, 3, 1, 0, 0, 0))).toMatchObject({ clipboard: { what: 'picture', bytes: 1 } })
})

test.each([
  ['of another kind', bytes(6, 4)],
  ['that is not UTF-8', bytes(6, 0, 0xff)],
  ['longer than allowed', Uint8Array.from([6, 0, ...Array(CLIPBOARD_TEXT_BYTES_MAX + 1).fill(97)])],
  ['that calls itself a picture', bytes(6, 1, ...text('<svg onload=alert(1)>'))],
  ['announced without a size', bytes(6, 2, 1)],
  ['announced with more than a size', bytes(6, 3, 1, 0, 0, 0, 0)],
])('a clipboard %s is malformed', (_, message) => {
  expect(() => decode(message)).toThrow(MalformedError)
})

test('a state is the number of the viewer and JSON', () => {
  const json = '{"rights":["view"],"holder":null,"viewers":[]}'
  expect(decode(bytes(7, 7, 0, 0, 0, ...text(json)))).toMatchObject({
    kind: 'room',
    room: { you: 7, holder: null, viewers: [] },
  })
  for (const bad of ['', '{', '[]', '{}', ' '.repeat(ROOM_BYTES_MAX + 1)]) {
    expect(() => decode(bytes(7, 7, 0, 0, 0, ...text(bad)))).toThrow(MalformedError)
  }
})

test('a pointer is of the agent or of a viewer', () => {
  expect(decode(bytes(8, 0, 9, 0, 0, 0, 2, 1, 3, 0, 3))).toEqual({
    kind: 'peer',
    peer: { agent: true, viewer: 0, x: 258, y: 3, action: 'types' },
  })
  expect(decode(bytes(8, 1, 9, 0, 0, 0, 2, 1, 3, 0, 1))).toMatchObject({
    peer: { agent: false, viewer: 9, action: 'down' },
  })
  expect(() => decode(bytes(8, 2, 9, 0, 0, 0, 2, 1, 3, 0, 1))).toThrow(MalformedError)
  expect(() => decode(bytes(8, 1, 9, 0, 0, 0, 2, 1, 3, 0, 4))).toThrow(MalformedError)
})

test('a sound is one packet', () => {
  expect(decode(bytes(9, 1, 0, 0, 0, 5))).toEqual({ kind: 'sound', seq: 1, packet: bytes(5) })
  expect(() => decode(bytes(9, 1, 0, 0, 0))).toThrow(MalformedError)
  expect(() => decode(Uint8Array.from([9, ...Array(5 + SOUND_PACKET_BYTES_MAX).fill(0)]))).toThrow(
    MalformedError,
  )
})

test('any bytes of these kinds are a message or malformed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 6, max: 9 }), fc.uint8Array({ maxLength: 64 }), (kind, rest) => {
      try {
        decode(Uint8Array.from([kind, ...rest]))
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError)
      }
    }),
    { numRuns: 1000 },
  )
})

test('requests have the layout that the server reads', () => {
  expect(encodeRequest({ kind: 'video-failed', broken: true })).toEqual(bytes(10, 1))
  expect(encodeRequest({ kind: 'resize', width: 1024, height: 770 })).toEqual(bytes(12, 0, 4, 2, 3))
  expect(encodeRequest({ kind: 'control', verb: Verb.giveBack, viewer: 258 })).toEqual(
    bytes(13, 6, 2, 1, 0, 0),
  )
  expect(encodeRequest({ kind: 'sound', on: true })).toEqual(bytes(14, 1))
  expect(encodeRequest({ kind: 'fetch-clipboard' })).toEqual(bytes(15))
  expect(encodeInput(7, { kind: 'clipboard', text: '€' })).toEqual(bytes(11, 7, 0, 0, 0, 0, 0xe2, 0x82, 0xac))
})
