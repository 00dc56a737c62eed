import fc from 'fast-check'
import { expect, test } from 'vitest'
import { after, INITIAL, STEADY_MS, type View, type ViewEvent } from './state.ts'
import { parseStatus, type Status, type StatusState } from './status.ts'

const status = (state: StatusState, fields: Partial<Status> = {}): ViewEvent => ({
  kind: 'status',
  status: { state, message: '', reason: null, sessionId: null, image: null, expiresAtMs: null, ...fields },
})
const picture = (nowMs: number): ViewEvent => ({ kind: 'picture', nowMs })
const lost = (nowMs: number, reason = 'gone'): ViewEvent => ({ kind: 'lost', reason, nowMs })
const run = (...events: ViewEvent[]): View => events.reduce(after, INITIAL)

test('the first picture makes the view live', () => {
  expect(run(picture(5))).toEqual({ state: 'live', attempt: 1, sinceMs: 5 })
})

test('attempts that bring no picture are counted', () => {
  expect(run(lost(1, 'a'), lost(2, 'b'))).toEqual({ state: 'connecting', attempt: 3, reason: 'b' })
})

test('after a steady connection the count begins anew, after a short one it goes on', () => {
  expect(run(lost(1), picture(10), lost(10 + STEADY_MS))).toMatchObject({ state: 'reconnecting', attempt: 1 })
  expect(run(lost(1), picture(10), lost(20))).toMatchObject({ state: 'reconnecting', attempt: 3 })
})

test('a server out of reach is a better reason than the closed socket', () => {
  expect(run(lost(1), { kind: 'unreachable' })).toMatchObject({ reason: 'the server cannot be reached' })
})

test.each<[StatusState, string | null, string]>([
  ['expired', null, 'expired'],
  ['unknown', null, 'unknown'],
  ['ended', 'idle', 'idle'],
  ['ended', 'crashed', 'crashed'],
  ['ended', 'a reason of a newer server', 'ended'],
])('%s (%s) ends the view', (state, reason, expected) => {
  expect(run(picture(1), status(state, { reason, message: 'why' }))).toEqual({
    state: 'ended',
    reason: expected,
    message: 'why',
  })
})

test('a paused session is waited for, and connected to when it goes on', () => {
  const paused = run(picture(1), status('paused', { message: 'why' }))
  expect(paused).toEqual({ state: 'paused', pictured: true, message: 'why' })
  expect(run(picture(1), status('paused'), lost(2), { kind: 'unreachable' }, status('paused'))).toMatchObject(
    { state: 'paused' },
  )
  expect(after(paused, status('live'))).toMatchObject({ state: 'reconnecting', attempt: 1 })
  expect(run(status('paused'), status('live'))).toMatchObject({ state: 'connecting', attempt: 1 })
  expect(after(paused, status('ended', { reason: 'idle' }))).toMatchObject({ state: 'ended', reason: 'idle' })
})

const anyEvent: fc.Arbitrary<ViewEvent> = fc.oneof(
  fc.nat(10_000).map(picture),
  fc.nat(10_000).map((nowMs) => lost(nowMs)),
  fc.constant<ViewEvent>({ kind: 'unreachable' }),
  fc.constantFrom<StatusState>('live', 'paused', 'expired', 'ended', 'unknown').map((state) => status(state)),
)

test('the end is final, and a picture once seen is never taken back', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
      let view = INITIAL
      let seen = false
      for (const event of events) {
        const next = after(view, event)
        if (view.state === 'ended') expect(next).toBe(view)
        if (seen) expect(next.state).not.toBe('connecting')
        seen ||= next.state === 'live'
        view = next
      }
    }),
  )
})

test('a status is read with all it says', () => {
  const body = {
    ...{ state: 'ended', message: 'm', reason: 'idle' },
    ...{ sessionId: 's-1', image: 'code', expiresAt: 1_700_000_000_000 },
  }
  expect(parseStatus(body)).toEqual({
    ...{ state: 'ended', message: 'm', reason: 'idle' },
    ...{ sessionId: 's-1', image: 'code', expiresAtMs: 1_700_000_000_000 },
  })
})

test.each([[null], ['live'], [[]], [{}], [{ state: 'sleeping' }], [{ state: 7 }]])(
  '%j is no status, and no reason to give up',
  (body) => {
    expect(parseStatus(body)).toBeNull()
  },
)

test('fields of a wrong type count as absent', () => {
  expect(parseStatus({ state: 'live', message: 1, sessionId: {}, expiresAt: 'soon' })).toEqual({
    ...{ state: 'live', message: '', reason: null },
    ...{ sessionId: null, image: null, expiresAtMs: null },
  })
})
