import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Pointer, type PointerInput, type WheelInput } from './pointer.ts'
import { Button, type Input } from './wire.ts'

/** A frame clock that ticks when the test says so. */
class ManualClock {
  #waiting = new Map<number, () => void>()
  #next = 1

  request(callback: () => void): number {
    this.#waiting.set(this.#next, callback)
    return this.#next++
  }

  cancel(handle: number): void {
    this.#waiting.delete(handle)
  }

  tick(): void {
    const due = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const callback of due) callback()
  }
}

function setUp() {
  const sent: Input[] = []
  const clock = new ManualClock()
  const pointer = new Pointer(
    (input) => sent.push(input),
    (x, y) => ({ x, y }),
    clock,
  )
  return { pointer, clock, sent }
}

function event(
  type: string,
  clientX: number,
  clientY: number,
  fields: Partial<PointerInput> = {},
): PointerInput {
  return { type, clientX, clientY, button: -1, buttons: 0, ...fields }
}

function wheel(deltaX: number, deltaY: number, deltaMode = 0): WheelInput {
  return { clientX: 5, clientY: 6, deltaX, deltaY, deltaMode }
}

const left = { button: 0, buttons: 1 }

test('moves are thinned to the last of each frame', () => {
  const { pointer, clock, sent } = setUp()
  pointer.pointer(event('pointermove', 1, 1))
  pointer.pointer(event('pointermove', 2, 2))
  expect(sent).toEqual([])
  clock.tick()
  expect(sent).toEqual([{ kind: 'pointer', x: 2, y: 2 }])
  pointer.pointer(event('pointermove', 2, 2))
  clock.tick()
  expect(sent).toHaveLength(1)
})

test('a click comes after the move that led to it', () => {
  const { pointer, clock, sent } = setUp()
  pointer.pointer(event('pointermove', 1, 1))
  pointer.pointer(event('pointerdown', 3, 4, left))
  pointer.pointer(event('pointerup', 3, 4, { button: 0 }))
  clock.tick()
  expect(sent).toEqual([
    { kind: 'pointer', x: 1, y: 1 },
    { kind: 'pointer', x: 3, y: 4 },
    { kind: 'button', button: Button.left, down: true, x: 3, y: 4 },
    { kind: 'button', button: Button.left, down: false, x: 3, y: 4 },
  ])
})

test.each([
  [0, 1, Button.left],
  [1, 4, Button.middle],
  [2, 2, Button.right],
  [3, 8, Button.back],
  [4, 16, Button.forward],
])('button %i of the browser has its X number', (button, buttons, expected) => {
  const { pointer, sent } = setUp()
  pointer.pointer(event('pointerdown', 0, 0, { button, buttons }))
  expect(sent.at(-1)).toMatchObject({ kind: 'button', button: expected, down: true })
})

test('a second button comes as a move, and is a press all the same', () => {
  const { pointer, sent } = setUp()
  pointer.pointer(event('pointerdown', 0, 0, left))
  pointer.pointer(event('pointermove', 0, 0, { button: 2, buttons: 3 }))
  pointer.pointer(event('pointermove', 0, 0, { button: 0, buttons: 2 }))
  pointer.pointer(event('pointerup', 0, 0, { button: 2, buttons: 0 }))
  expect(sent.filter((input) => input.kind === 'button').map((input) => [input.button, input.down])).toEqual([
    [Button.left, true],
    [Button.right, true],
    [Button.left, false],
    [Button.right, false],
  ])
})

test('a button pressed outside and dragged in is not pressed', () => {
  const { pointer, clock, sent } = setUp()
  pointer.pointer(event('pointermove', 1, 1, { buttons: 1 }))
  clock.tick()
  expect(sent).toEqual([{ kind: 'pointer', x: 1, y: 1 }])
})

test('a release that was lost shows at the next event', () => {
  const { pointer, sent } = setUp()
  pointer.pointer(event('pointerdown', 1, 1, left))
  pointer.pointer(event('pointermove', 9, 9))
  expect(sent.at(-1)).toEqual({ kind: 'button', button: Button.left, down: false, x: 9, y: 9 })
})

test('drawing keeps the way between two frames', () => {
  const { pointer, clock, sent } = setUp()
  pointer.pointer(event('pointerdown', 0, 0, left))
  const way = [1, 2, 3].map((x) => ({ clientX: x, clientY: x }))
  pointer.pointer(event('pointermove', 3, 3, { buttons: 1, getCoalescedEvents: () => way }))
  clock.tick()
  expect(sent.slice(2)).toEqual([1, 2, 3].map((x) => ({ kind: 'pointer', x, y: x })))
})

test('a cancelled touch lets go where it was', () => {
  const { pointer, sent } = setUp()
  pointer.pointer(event('pointerdown', 4, 4, left))
  pointer.pointer(event('pointercancel', 0, 0))
  expect(sent.at(-1)).toEqual({ kind: 'button', button: Button.left, down: false, x: 4, y: 4 })
})

test.each([
  ['pixels', 0, 100, 120],
  ['lines', 1, 3, 120],
  ['pages', 2, -1, -360],
])('a wheel that counts %s is converted to parts of a notch', (_, mode, delta, expected) => {
  const { pointer, clock, sent } = setUp()
  pointer.wheel(wheel(0, delta, mode))
  clock.tick()
  expect(sent).toEqual([
    { kind: 'pointer', x: 5, y: 6 },
    { kind: 'wheel', dx: 0, dy: expected, x: 5, y: 6 },
  ])
})

test('slow scrolling is not lost, quick scrolling is merged', () => {
  const { pointer, clock, sent } = setUp()
  for (let at = 0; at < 96; at++) {
    pointer.wheel(wheel(0, 0.3125))
    if (at % 3 === 0) clock.tick()
  }
  clock.tick()
  const steps = sent.filter((input) => input.kind === 'wheel')
  expect(steps.length).toBeLessThan(35)
  expect(steps.reduce((sum, input) => sum + input.dy, 0)).toBe(36)
})

test('a wheel turn beyond all measure is bounded', () => {
  const { pointer, clock, sent } = setUp()
  pointer.wheel(wheel(-1e12, 1e12))
  clock.tick()
  expect(sent.at(-1)).toMatchObject({ dx: -32767, dy: 32767 })
})

test('after the connection is new or the focus gone, nothing is held', () => {
  const { pointer, sent } = setUp()
  pointer.pointer(event('pointerdown', 1, 1, left))
  expect(pointer.releaseAll()).toBe(true)
  expect(pointer.releaseAll()).toBe(false)
  // Still held by the person; it was let go for the server.
  pointer.pointer(event('pointermove', 2, 2, { buttons: 1 }))
  pointer.pointer(event('pointerup', 2, 2, { button: 0 }))
  expect(sent.filter((input) => input.kind === 'button')).toHaveLength(1)
})

test('whatever the browser tells, presses and releases of a button alternate', () => {
  const type = fc.constantFrom('pointerdown', 'pointermove', 'pointerup', 'pointercancel')
  const events = fc.array(
    fc.record({ type, button: fc.integer({ min: -1, max: 5 }), buttons: fc.nat(63), x: fc.nat(9) }),
  )
  fc.assert(
    fc.property(events, (list) => {
      const { pointer, sent } = setUp()
      for (const { type, x, ...fields } of list) pointer.pointer(event(type, x, x, fields))
      pointer.pointer(event('pointermove', 0, 0))
      const held = new Set<number>()
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
