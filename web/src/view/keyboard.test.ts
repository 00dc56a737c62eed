import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keyEvent } from './keyboard.testing.ts'
import { Keyboard, type Platform } from './keyboard.ts'
import { type Input, Modifier } from './wire.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** A keyboard, and what the server makes of its messages: which keys are down, and every message in short. */
function setUp(platform: Platform = 'other') {
  const down = new Set<string>()
  const log: string[] = []
  const messages: Input[] = []
  const keyboard = new Keyboard((message) => {
    messages.push(message)
    if (message.kind === 'release-all') down.clear()
    if (message.kind === 'key') {
      const id = message.code || `key:${message.key}`
      if (message.down && !message.repeat && down.has(id)) throw new Error(`${id} pressed twice`)
      if (!message.down && !down.has(id)) throw new Error(`${id} released but not pressed`)
      if (message.down) down.add(id)
      else down.delete(id)
      log.push(`${message.down ? (message.repeat ? '=' : '+') : '-'}${message.code || message.key}`)
    } else log.push(message.kind === 'text' ? `"${message.text}"` : message.kind)
  }, platform)
  return { keyboard, down, log, messages }
}

const A = keyEvent('KeyA', 'a')

test('a key goes down, repeats and goes up', () => {
  const { keyboard, log } = setUp()
  expect(keyboard.keyDown(A)).toBe(true)
  keyboard.keyDown(keyEvent('KeyA', 'a', { repeat: true }))
  keyboard.keyUp(A)
  expect(log).toEqual(['+KeyA', '=KeyA', '-KeyA'])
})

test('a message carries code, key and every modifier', () => {
  const { keyboard, messages } = setUp()
  keyboard.keyDown(
    keyEvent('KeyA', 'Å', {
      ...{ shiftKey: true, ctrlKey: true, altKey: true, metaKey: true },
      states: ['AltGraph', 'CapsLock', 'NumLock'],
    }),
  )
  const all = Object.values(Modifier).reduce<number>((bits, bit) => bits | bit, 0)
  expect(messages.at(-1)).toEqual({
    ...{ kind: 'key', down: true, repeat: false },
    ...{ modifiers: all, code: 'KeyA', key: 'Å' },
  })
})

test('a key-up repeats the name of its key-down, though Shift was let go in between', () => {
  const { keyboard, messages } = setUp()
  keyboard.keyDown(keyEvent('ShiftLeft', 'Shift', { shiftKey: true }))
  keyboard.keyDown(keyEvent('Digit1', '!', { shiftKey: true }))
  keyboard.keyUp(keyEvent('ShiftLeft', 'Shift'))
  keyboard.keyUp(keyEvent('Digit1', '1'))
  expect(messages.at(-1)).toMatchObject({ down: false, code: 'Digit1', key: '!' })
})

test('a key-down without repeat of a key that is down counts as its repeat', () => {
  const { keyboard, log } = setUp()
  keyboard.keyDown(A)
  keyboard.keyDown(A)
  expect(log).toEqual(['+KeyA', '=KeyA'])
})

test('keys that were pressed elsewhere neither repeat nor go up here', () => {
  const { keyboard, log } = setUp()
  keyboard.keyDown(keyEvent('Tab', 'Tab', { repeat: true }))
  keyboard.keyUp(keyEvent('Tab', 'Tab'))
  expect(log).toEqual([])
})

test('keys of an input method and dead keys are left to the text area', () => {
  const { keyboard, log } = setUp()
  const left = [
    keyEvent('Quote', 'Dead'),
    keyEvent('KeyA', 'Process'),
    keyEvent('KeyA', 'a', { isComposing: true }),
    keyEvent('KeyA', 'a', { keyCode: 229 }),
  ]
  for (const event of left) {
    expect(keyboard.keyDown(event)).toBe(false)
    keyboard.keyUp(event)
  }
  keyboard.text('é')
  expect(log).toEqual(['"é"'])
})

test('a modifier that was held when the focus came counts, for keys and clicks, and is let go', () => {
  const { keyboard, log } = setUp()
  const ctrl = { ctrlKey: true }
  keyboard.keyDown(keyEvent('KeyC', 'c', ctrl))
  keyboard.keyUp(keyEvent('KeyC', 'c', ctrl))
  keyboard.keyUp(keyEvent('ControlRight', 'Control'))
  expect(log).toEqual(['+ControlLeft', '+KeyC', '-KeyC', '-ControlLeft'])
  keyboard.observe(keyEvent('', '', ctrl))
  expect(log).toHaveLength(4)
  keyboard.observePress(keyEvent('', '', ctrl))
  keyboard.observe(keyEvent('', ''))
  expect(log.slice(4)).toEqual(['+ControlLeft', '-ControlLeft'])
})

test('a modifier whose key-up was lost is let go at the next event of any kind', () => {
  const { keyboard, log, down } = setUp()
  keyboard.keyDown(keyEvent('AltLeft', 'Alt', { altKey: true }))
  keyboard.keyDown(A)
  expect(log).toEqual(['+AltLeft', '-AltLeft', '+KeyA'])
  keyboard.keyDown(keyEvent('ShiftLeft', 'Shift', { shiftKey: true }))
  keyboard.observe(keyEvent('', ''))
  expect([...down]).toEqual(['KeyA'])
})

test('Windows tells of one key-up when both Shifts are let go', () => {
  const { keyboard, down } = setUp('windows')
  keyboard.keyDown(keyEvent('ShiftLeft', 'Shift', { shiftKey: true }))
  keyboard.keyDown(keyEvent('ShiftRight', 'Shift', { shiftKey: true }))
  keyboard.keyUp(keyEvent('ShiftRight', 'Shift'))
  expect(down.size).toBe(0)
})

test('macOS tells of no key-up while Meta is down', () => {
  const { keyboard, log, down } = setUp('mac')
  const meta = { metaKey: true }
  keyboard.keyDown(A)
  keyboard.keyDown(keyEvent('MetaLeft', 'Meta', meta))
  keyboard.keyDown(keyEvent('KeyK', 'k', meta))
  keyboard.keyDown(keyEvent('KeyK', 'k', { ...meta, repeat: true }))
  keyboard.keyUp(keyEvent('MetaLeft', 'Meta'))
  expect(log).toEqual(['+KeyA', '+MetaLeft', '+KeyK', '-KeyK', '+KeyK', '-KeyK', '-MetaLeft', '-KeyA'])
  expect(down.size).toBe(0)
})

test.each([
  ['KeyC', 'c', false],
  ['KeyX', 'x', false],
  ['KeyA', 'a', false],
  ['KeyZ', 'Z', true],
  ['KeyC', 'с', false],
])("a Mac's Cmd with %s is Ctrl in the session, and no Meta is seen there", (code, key, shift) => {
  const { keyboard, log, messages, down } = setUp('mac')
  const meta = { metaKey: true, shiftKey: shift }
  keyboard.keyDown(keyEvent('MetaLeft', 'Meta', { metaKey: true }))
  if (shift) keyboard.keyDown(keyEvent('ShiftLeft', 'Shift', meta))
  keyboard.keyDown(keyEvent(code, key, meta))
  if (shift) keyboard.keyUp(keyEvent('ShiftLeft', 'Shift', { metaKey: true }))
  keyboard.keyUp(keyEvent('MetaLeft', 'Meta'))
  const chord = ['+ControlLeft', `+${code}`, `-${code}`, '-ControlLeft']
  if (shift) expect(log.filter((one) => !/Shift|Meta/.test(one))).toEqual(chord)
  else expect(log).toEqual(chord)
  const modifiers = Modifier.ctrl | (shift ? Modifier.shift : 0)
  expect(messages).toContainEqual({ kind: 'key', down: true, repeat: false, modifiers, code, key })
  expect(down.size).toBe(0)
})

test('Cmd alone is a press of Meta, and Cmd with a click is held', () => {
  const { keyboard, log } = setUp('mac')
  keyboard.keyDown(keyEvent('MetaLeft', 'Meta', { metaKey: true }))
  keyboard.keyUp(keyEvent('MetaLeft', 'Meta'))
  expect(log).toEqual(['+MetaLeft', '-MetaLeft'])
  keyboard.keyDown(keyEvent('MetaLeft', 'Meta', { metaKey: true }))
  keyboard.observePress(keyEvent('', '', { metaKey: true }))
  keyboard.keyUp(keyEvent('MetaLeft', 'Meta'))
  expect(log.slice(2)).toEqual(['+MetaLeft', '-MetaLeft'])
})

test('macOS tells of Caps Lock once for each change', () => {
  const { keyboard, log } = setUp('mac')
  keyboard.keyDown(keyEvent('CapsLock', 'CapsLock'))
  keyboard.keyUp(keyEvent('CapsLock', 'CapsLock'))
  expect(log).toEqual(['+CapsLock', '-CapsLock', '+CapsLock', '-CapsLock'])
})

test('Option types characters on macOS, and stays Alt for shortcuts', () => {
  const { keyboard, messages } = setUp('mac')
  keyboard.keyDown(keyEvent('AltLeft', 'Alt', { altKey: true }))
  keyboard.keyDown(keyEvent('KeyL', '@', { altKey: true }))
  keyboard.keyDown(keyEvent('KeyB', '∫', { altKey: true }))
  keyboard.keyDown(keyEvent('KeyF', 'f', { altKey: true }))
  expect(messages.slice(1).map((message) => message.kind === 'key' && message.modifiers)).toEqual([
    Modifier.altGraph,
    Modifier.alt,
    Modifier.alt,
  ])
})

test("Windows' false Ctrl before AltGr is dropped, and what AltGr types is no shortcut", () => {
  const { keyboard, log, messages } = setUp('windows')
  const both = { ctrlKey: true, altKey: true, states: ['AltGraph'] }
  keyboard.keyDown(keyEvent('ControlLeft', 'Control', { ctrlKey: true, timeStamp: 100 }))
  keyboard.keyDown(keyEvent('AltRight', 'AltGraph', { ...both, timeStamp: 101 }))
  keyboard.keyDown(keyEvent('KeyQ', '@', { ...both, timeStamp: 200 }))
  keyboard.keyUp(keyEvent('KeyQ', '@', both))
  keyboard.keyUp(keyEvent('ControlLeft', 'Control', { altKey: true, states: ['AltGraph'] }))
  keyboard.keyUp(keyEvent('AltRight', 'AltGraph'))
  expect(log).toEqual(['+AltRight', '+KeyQ', '-KeyQ', '-AltRight'])
  expect(messages[1]).toMatchObject({ modifiers: Modifier.altGraph })
})

test('a real Ctrl on Windows is sent with the next event, or after a moment', () => {
  const { keyboard, log } = setUp('windows')
  const ctrl = { ctrlKey: true }
  keyboard.keyDown(keyEvent('ControlLeft', 'Control', ctrl))
  keyboard.keyDown(keyEvent('KeyC', 'c', ctrl))
  keyboard.keyUp(keyEvent('KeyC', 'c', ctrl))
  keyboard.keyUp(keyEvent('ControlLeft', 'Control'))
  expect(log).toEqual(['+ControlLeft', '+KeyC', '-KeyC', '-ControlLeft'])
  keyboard.keyDown(keyEvent('ControlLeft', 'Control', ctrl))
  expect(log).toHaveLength(4)
  vi.advanceTimersByTime(50)
  expect(log[4]).toBe('+ControlLeft')
  // Ctrl, then AltGr, pressed by a person.
  keyboard.keyDown(keyEvent('AltRight', 'AltGraph', { ctrlKey: true, states: ['AltGraph'], timeStamp: 900 }))
  expect(log[5]).toBe('+AltRight')
})

test('a click right after Ctrl is a click with Ctrl', () => {
  const { keyboard, log } = setUp('windows')
  keyboard.keyDown(keyEvent('ControlLeft', 'Control', { ctrlKey: true }))
  keyboard.observe(keyEvent('', '', { ctrlKey: true }))
  expect(log).toEqual(['+ControlLeft'])
})

test('Japanese toggles and PrintScreen are pressed and let go at once', () => {
  const { keyboard, log } = setUp('windows')
  keyboard.keyDown(keyEvent('Backquote', 'Zenkaku'))
  keyboard.keyUp(keyEvent('PrintScreen', 'PrintScreen'))
  expect(log).toEqual(['+Backquote', '-Backquote', '+PrintScreen', '-PrintScreen'])
})

test('keys without a code are told apart by their name', () => {
  const { keyboard, log } = setUp()
  keyboard.keyDown(keyEvent('', 'x'))
  keyboard.keyDown(keyEvent('', 'y'))
  keyboard.keyUp(keyEvent('', 'x'))
  expect(log).toEqual(['+x', '+y', '-x'])
})

test('on macOS a lost Meta lets go of the keys that were pressed with it', () => {
  const { keyboard, down } = setUp('mac')
  keyboard.keyDown(keyEvent('Enter', 'Enter'))
  keyboard.keyDown(keyEvent('MetaLeft', 'Meta', { metaKey: true }))
  // Neither key-up comes.
  keyboard.observe(keyEvent('', ''))
  expect(down.size).toBe(0)
})

test('when the focus goes, all is let go, and only if there was something', () => {
  const { keyboard, log, down } = setUp()
  keyboard.releaseAll()
  expect(log).toEqual([])
  keyboard.keyDown(A)
  keyboard.releaseAll()
  keyboard.releaseAll()
  expect(log).toEqual(['+KeyA', 'release-all'])
  expect(down.size).toBe(0)
  keyboard.keyUp(A)
  expect(log).toHaveLength(2)
})

test('a new connection knows of no key: nothing is sent for what was down before', () => {
  const { keyboard, log } = setUp()
  keyboard.keyDown(A)
  keyboard.forget()
  keyboard.keyUp(A)
  expect(log).toEqual(['+KeyA'])
})

const MODIFIERS: Record<string, [field: 'shiftKey' | 'ctrlKey' | 'altKey' | 'metaKey', key: string]> = {
  ShiftLeft: ['shiftKey', 'Shift'],
  ShiftRight: ['shiftKey', 'Shift'],
  ControlLeft: ['ctrlKey', 'Control'],
  ControlRight: ['ctrlKey', 'Control'],
  AltLeft: ['altKey', 'Alt'],
  MetaLeft: ['metaKey', 'Meta'],
}

type Step =
  | { act: 'press' | 'release'; code: string; lost: boolean }
  | { act: 'leave' | 'move' | 'click' }
  | { act: 'wait'; ms: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      act: fc.constantFrom('press' as const, 'release' as const),
      code: fc.constantFrom(...Object.keys(MODIFIERS), 'KeyA', 'KeyB', 'Digit1', 'Enter', 'CapsLock'),
      lost: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ act: fc.constantFrom('leave' as const, 'move' as const, 'click' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('wait' as const), ms: fc.nat(100) }) },
)

test.each<Platform>(['other', 'windows', 'mac'])(
  'no sequence of presses, lost key-ups and lost focus leaves a key stuck (%s)',
  (platform) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { keyboard, down } = setUp(platform)
        const held = new Set<string>()
        let nowMs = 0
        const event = (code: string) => {
          const flags = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false }
          for (const other of held) {
            const modifier = MODIFIERS[other]
            if (modifier) flags[modifier[0]] = true
          }
          const key = MODIFIERS[code]?.[1] ?? code.slice(-1).toLowerCase()
          return keyEvent(code, key, { ...flags, timeStamp: nowMs })
        }
        const release = (code: string, lost: boolean) => {
          held.delete(code)
          // The browsers' own losses: modifiers anywhere, ordinary keys while Meta is down on macOS.
          const meta = platform === 'mac' && held.has('MetaLeft')
          if ((MODIFIERS[code] && lost) || (!MODIFIERS[code] && meta)) return
          keyboard.keyUp(event(code))
        }
        for (const one of steps) {
          nowMs += 1
          if (one.act === 'press' && !held.has(one.code)) {
            held.add(one.code)
            keyboard.keyDown(event(one.code))
          } else if (one.act === 'release' && held.has(one.code)) release(one.code, one.lost)
          else if (one.act === 'leave') {
            keyboard.releaseAll()
            expect(down.size).toBe(0)
          } else if (one.act === 'move') keyboard.observe(event(''))
          else if (one.act === 'click') keyboard.observePress(event(''))
          else if (one.act === 'wait') vi.advanceTimersByTime(one.ms)
          expect(new Set(down)).toEqual(keyboard.down)
        }
        // Everything is let go, Meta last as a person does after a shortcut; then the pointer moves.
        const order = [...held].sort((a, b) => Number(a === 'MetaLeft') - Number(b === 'MetaLeft'))
        for (const code of order) release(code, false)
        keyboard.observe(event(''))
        expect([...down]).toEqual([])
      }),
      { numRuns: 1500 },
    )
  },
)
