import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { beganAt, lastAt, messagesOf, readable, type Segment, Source } from './recording.ts'

const u32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff]
const record = (kind: number, time: number, payload: number[]) => [
  ...u32(payload.length),
  kind,
  ...u32(time),
  ...u32(0),
  ...payload,
]

test('the messages are found among the records', () => {
  const bytes = [
    ...record(2, 5, [1, 0, 1, 0]),
    ...record(3, 5, [1, 2]),
    ...record(4, 6, [7]),
    ...record(3, 9, []),
  ]
  const messages = messagesOf(Uint8Array.from(bytes))
  expect(messages.map(({ time, message }) => [time, ...message])).toEqual([[5, 1, 2], [9]])
})

test('a record that is longer than the bytes is refused, and no bytes are read past the end', () => {
  expect(() => messagesOf(Uint8Array.from(record(3, 1, [1, 2]).slice(0, -1)))).toThrow('cut off')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      try {
        const total = messagesOf(Uint8Array.from(bytes)).reduce((sum, { message }) => sum + message.length, 0)
        expect(total).toBeLessThanOrEqual(bytes.length)
      } catch (error) {
        expect(String(error)).toContain('cut off')
      }
    }),
  )
})

test('the last that begins by a time is found', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), fc.nat(60), (times, time) => {
      times.sort((a, b) => a - b)
      expect(lastAt(times, time, (it) => it)).toBe(times.findLastIndex((it) => it <= time))
    }),
  )
})

test('an answer is shown by its texts, also when it was cut', () => {
  expect(readable('{"content":[{"type":"text","text":"a\\nb"},{"type":"text","text":"c"}]}')).toBe('a\nb\nc')
  expect(readable('{"content":[{"type":"text","text":"half a \\"wo')).toBe('half a "wo')
  expect(readable('{"content":[{"type":"text","text":"cut\\')).toBe('cut')
  expect(readable('no JSON')).toBe('no JSON')
})

test('a call begins before it is told of', () => {
  const tool = { kind: 'tool', name: 'a', who: '', arguments: '', output: '', cut: 0, failed: false } as const
  const at = (time: number, duration: number) =>
    beganAt({ time, offset: 0, length: 0, event: { ...tool, duration } })
  expect([at(100, 30), at(10, 30)]).toEqual([70, 0])
})

test('a segment is read in pieces, once', async () => {
  const file = Uint8Array.from([...record(3, 1, [9]), ...record(3, 2, [8])])
  const fetched = vi.fn(async (url: URL) => {
    const [from, to] = [Number(url.searchParams.get('from')), Number(url.searchParams.get('to'))]
    return new Response(file.slice(from, to))
  })
  vi.stubGlobal('fetch', fetched)
  const source = new Source(new URL('http://127.0.0.1/play/'))
  const segment: Segment = { time: 0, offset: 0, end: file.length, width: 1, height: 1 }
  const [messages, again] = await Promise.all([source.messages(segment), source.messages(segment)])
  expect(messages.map(({ message }) => [...message])).toEqual([[9], [8]])
  expect(again).toBe(messages)
  expect(fetched).toHaveBeenCalledTimes(1)
  vi.unstubAllGlobals()
})
