import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Pointer, type PointerInput, type WheelInput } from './pointer.ts'
import { LONG_PRESS_MS, Touch } from './touch.ts'
import type { Button, Input } from './wire.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** Fingers, and what the mouse that they move does. */
function setUp() {
  const log: string[] = []
  const touch = new Touch({
    pointer: ({ type, clientX, clientY, buttons }: PointerInput) =>
      log.push(`${type.slice(7)} ${clientX},${clientY} ${buttons}`),
    wheel: ({ clientX, clientY, deltaX, deltaY }: WheelInput) =>
      log.push(`wheel ${clientX},${clientY} by ${deltaX},${deltaY}`),
  })
  const finger = (type: string, pointerId: number, clientX = 0, clientY = 0) =>
    touch.take({ type: `pointer${type}`, pointerId, clientX, clientY })
  return { touch, finger, log }
}

test('a tap clicks where the finger came down, and not before it is a tap', () => {
  const { finger, log } = setUp()
  finger('down', 1, 40, 50)
  finger('move', 1, 44, 53)
  expect(log).toEqual([])
  finger('up', 1, 44, 53)
  expect(log).toEqual(['down 40,50 1', 'up 40,50 0'])
  vi.advanceTimersByTime(LONG_PRESS_MS)
  expect(log).toHaveLength(2)
})

test('a long press is a click with the right button, once', () => {
  const { finger, log } = setUp()
  finger('down', 1, 40, 50)
  vi.advanceTimersByTime(LONG_PRESS_MS)
  expect(log).toEqual(['down 40,50 2', 'up 40,50 0'])
  finger('move', 1, 90, 90)
  finger('up', 1, 90, 90)
  expect(log).toHaveLength(2)
})

test('one finger drags from where it came down', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 10)
  finger('move', 1, 20, 10)
  finger('move', 1, 30, 10)
  vi.advanceTimersByTime(LONG_PRESS_MS)
  finger('up', 1, 31, 10)
  expect(log).toEqual(['down 10,10 1', 'move 20,10 1', 'move 30,10 1', 'up 31,10 0'])
})

test('a second finger does not disturb a drag', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 10)
  finger('move', 1, 20, 10)
  finger('down', 2, 90, 90)
  finger('move', 2, 95, 90)
  finger('up', 2, 95, 90)
  finger('up', 1, 20, 10)
  expect(log).toEqual(['down 10,10 1', 'move 20,10 1', 'up 20,10 0'])
})

test('two fingers scroll, and the content follows them', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 100)
  finger('down', 2, 30, 100)
  finger('move', 1, 10, 80)
  finger('move', 2, 30, 80)
  finger('up', 1, 10, 80)
  finger('move', 2, 30, 10)
  finger('up', 2, 30, 10)
  expect(log).toEqual(['wheel 20,100 by 0,10', 'wheel 20,100 by 0,10'])
})

test('two fingers that tap click right, in their middle', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 100)
  finger('down', 2, 30, 100)
  finger('up', 2, 30, 100)
  finger('up', 1, 10, 100)
  expect(log).toEqual(['down 20,100 2', 'up 20,100 0'])
})

test('two fingers that rest, and three, are nothing', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 100)
  finger('down', 2, 30, 100)
  vi.advanceTimersByTime(2000)
  finger('up', 2)
  finger('up', 1)
  for (const one of [1, 2, 3]) finger('down', one, one * 10, 0)
  for (const one of [1, 2, 3]) finger('up', one)
  expect(log).toEqual([])
})

test('a touch that is cancelled clicks nothing, and lets go of what it dragged', () => {
  const { finger, log } = setUp()
  finger('down', 1, 10, 10)
  finger('cancel', 1)
  expect(log).toEqual([])
  finger('down', 1, 10, 10)
  finger('move', 1, 30, 10)
  finger('cancel', 1)
  expect(log.at(-1)).toBe('cancel 0,0 0')
})

test('after the connection is new, fingers that are down mean nothing', () => {
  const { touch, finger, log } = setUp()
  finger('down', 1, 10, 10)
  touch.forget()
  vi.advanceTimersByTime(LONG_PRESS_MS)
  finger('move', 1, 90, 90)
  finger('up', 1, 90, 90)
  expect(log).toEqual([])
})

test('whatever fingers do, no button is left held', () => {
  const step = fc.record({
    type: fc.constantFrom('down', 'move', 'up', 'cancel', 'wait'),
    pointerId: fc.nat(3),
    x: fc.nat(60),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const sent: Input[] = []
      const pointer = new Pointer(
        (input) => sent.push(input),
        (x, y) => ({ x, y }),
        { request: () => 1, cancel: () => {} },
      )
      const touch = new Touch(pointer)
      for (const { type, pointerId, x } of steps) {
        if (type === 'wait') vi.advanceTimersByTime(x * 20)
        else touch.take({ type: `pointer${type}`, pointerId, clientX: x, clientY: 0 })
      }
      for (const pointerId of [0, 1, 2, 3]) {
        touch.take({ type: 'pointerup', pointerId, clientX: 0, clientY: 0 })
      }
      const held = new Set<Button>()
      for (const input of sent) {
        if (input.kind !== 'button') continue
        expect(held.has(input.button)).toBe(!input.down)
        if (input.down) held.add(input.button)
        else held.delete(input.button)
      }
      expect(held.size).toBe(0)
    }),
  )
})
