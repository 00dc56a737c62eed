/** What six keyboards send for typical keys: characters travel by `key`, shortcuts by `code`, dead keys as text. */

import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Fields, keyEvent } from './keyboard.testing.ts'
import { Keyboard, type KeyInput, type Platform } from './keyboard.ts'
import { Paste } from './paste.ts'
import { Typing } from './typing.ts'
import { type Input, Modifier } from './wire.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

function setUp(platform: Platform = 'other') {
  const sent: Input[] = []
  const down = new Set<string>()
  const keyboard = new Keyboard((message) => {
    sent.push(message)
    if (message.kind === 'release-all') down.clear()
    if (message.kind !== 'key') return
    if (message.down) down.add(message.code || message.key)
    else down.delete(message.code || message.key)
  }, platform)
  const target = { enabled: () => true, judge: () => 'send' as const, send: () => {} }
  const paste = new Paste(keyboard, target, platform)
  return { paste, typing: new Typing(paste), sent, down }
}

const SHIFT: Fields = { shiftKey: true }
const CTRL: Fields = { ctrlKey: true }
const ALT_GR: Fields = { states: ['AltGraph'] }
const ALT_GR_OF_WINDOWS: Fields = { ctrlKey: true, altKey: true, states: ['AltGraph'] }

type Row = [layout: string, code: string, key: string, fields: Fields, modifiers: number, platform?: Platform]

const rows: Row[] = [
  ['US', 'KeyY', 'y', {}, 0],
  ['US', 'Digit2', '@', SHIFT, Modifier.shift],
  ['US', 'KeyZ', 'z', CTRL, Modifier.ctrl],
  ['German', 'KeyY', 'z', {}, 0],
  ['German', 'Semicolon', 'ö', {}, 0],
  ['German', 'KeyQ', '@', ALT_GR, Modifier.altGraph],
  ['German', 'KeyQ', '@', ALT_GR_OF_WINDOWS, Modifier.altGraph, 'windows'],
  ['German', 'KeyL', '@', { altKey: true }, Modifier.altGraph, 'mac'],
  ['German', 'KeyY', 'z', CTRL, Modifier.ctrl],
  ['French', 'KeyQ', 'a', {}, 0],
  ['French', 'Digit1', '&', {}, 0],
  ['French', 'Digit1', '1', SHIFT, Modifier.shift],
  ['French', 'Digit0', '@', ALT_GR, Modifier.altGraph],
  ['French', 'KeyQ', 'a', CTRL, Modifier.ctrl],
  ['Russian', 'KeyF', 'а', {}, 0],
  ['Russian', 'Slash', '.', {}, 0],
  ['Russian', 'KeyC', 'с', CTRL, Modifier.ctrl],
  ['Japanese', 'IntlYen', '\\', {}, 0],
  ['Japanese', 'IntlRo', '_', SHIFT, Modifier.shift],
  ['Japanese', 'BracketLeft', '@', {}, 0],
  ['Brazilian', 'Semicolon', 'ç', {}, 0],
  ['Brazilian', 'IntlRo', '/', {}, 0],
  ['Brazilian', 'NumpadComma', '.', {}, 0],
  ['Brazilian', 'KeyQ', '/', ALT_GR, Modifier.altGraph],
]

test.each(rows)('%s: %s is %s', (_, code, key, fields, modifiers, platform) => {
  const { paste, sent, down } = setUp(platform)
  expect(paste.keyDown(keyEvent(code, key, fields))).toBe(true)
  expect(sent).toContainEqual({ kind: 'key', down: true, repeat: false, modifiers, code, key })
  paste.keyUp(keyEvent(code, key, fields))
  paste.observe(keyEvent('', ''))
  expect(down.size).toBe(0)
})

test.each([
  ['German', 'Equal', 'e', 'é'],
  ['French', 'BracketLeft', 'e', 'ê'],
  ['Brazilian', 'Quote', 'a', 'ã'],
])('%s: a dead key and a letter are one text', (_, code, letter, result) => {
  const { paste, typing, sent, down } = setUp()
  const dead = keyEvent(code, 'Dead')
  expect(paste.keyDown(dead)).toBe(false)
  typing.compositionStart()
  paste.keyUp(dead)
  const composed = keyEvent('KeyE', letter, { isComposing: true })
  expect(paste.keyDown(composed)).toBe(false)
  expect(typing.edit({ inputType: 'insertCompositionText', data: result, isComposing: true })).toBe(false)
  typing.compositionEnd(result)
  paste.keyUp(keyEvent('KeyE', letter))
  expect(sent).toEqual([{ kind: 'text', text: result }])
  expect(down.size).toBe(0)
})

test.each([
  ['Chinese', '你好', 'Space', ' '],
  ['Japanese', '日本', 'Enter', 'Enter'],
])('%s: only the chosen text arrives, and no key of the method', (_, text, code, key) => {
  const { paste, typing, sent, down } = setUp()
  const method = (code: string, fields: Fields = {}) =>
    keyEvent(code, 'Process', { keyCode: 229, isComposing: true, ...fields })
  paste.keyDown(method('KeyN', { isComposing: false }))
  typing.compositionStart()
  for (const code of ['KeyN', 'KeyI', 'KeyH']) {
    expect(paste.keyDown(method(code))).toBe(false)
    paste.keyUp(keyEvent(code, code.slice(3).toLowerCase(), { isComposing: true }))
  }
  expect(paste.keyDown(method(code))).toBe(false)
  typing.compositionEnd(text)
  // Safari: the key that ended the composition comes after it, with nothing but its number to know it by.
  expect(paste.keyDown(keyEvent(code, key, { keyCode: 229 }))).toBe(false)
  paste.keyUp(keyEvent(code, key))
  expect(sent).toEqual([{ kind: 'text', text }])
  expect(down.size).toBe(0)
})

test('Japanese: the keys that turn the method on and off are pressed and let go', () => {
  const { paste, sent, down } = setUp('windows')
  for (const key of ['Zenkaku', 'Hankaku']) paste.keyDown(keyEvent('Backquote', key))
  paste.keyDown(keyEvent('KanaMode', 'KanaMode'))
  expect(sent).toHaveLength(6)
  paste.keyDown(keyEvent('NonConvert', 'NonConvert'))
  paste.keyUp(keyEvent('NonConvert', 'NonConvert'))
  expect(down.size).toBe(0)
})

test('a key that went down before the method began goes up, also under another name', () => {
  const { paste, typing, down } = setUp()
  paste.keyDown(keyEvent('KeyA', 'a'))
  paste.keyDown(keyEvent('', 'b'))
  typing.compositionStart()
  paste.keyUp(keyEvent('KeyA', 'Process', { keyCode: 229 }))
  paste.keyUp(keyEvent('', 'Process', { keyCode: 229 }))
  expect(down.size).toBe(0)
})

test('a composition that is given up types nothing, and the focus that goes ends it', () => {
  const { typing, sent } = setUp()
  typing.compositionStart()
  typing.compositionEnd('')
  typing.compositionStart()
  typing.abandon()
  typing.compositionEnd('late')
  expect(sent).toEqual([])
  expect(typing.edit({ inputType: 'insertText', data: 'a', isComposing: false })).toBe(true)
})

test('an emoji picker types without keys', () => {
  const { typing, sent } = setUp()
  expect(typing.edit({ inputType: 'insertText', data: '🛶', isComposing: false })).toBe(true)
  expect(sent).toEqual([{ kind: 'text', text: '🛶' }])
})

test("a touch screen's keyboard types, deletes and breaks lines", () => {
  const { paste, typing, sent, down } = setUp()
  const unknown = keyEvent('', 'Unidentified', { keyCode: 229 })
  const press = (inputType: string, data: string | null) => {
    expect(paste.keyDown(unknown)).toBe(false)
    expect(typing.edit({ inputType, data, isComposing: false })).toBe(true)
    paste.keyUp(unknown)
  }
  press('insertText', 'h')
  press('deleteContentBackward', null)
  press('insertLineBreak', null)
  const taps = sent.map((one) => (one.kind === 'key' ? `${one.down ? '+' : '-'}${one.code}` : one.kind))
  expect(taps).toEqual(['text', '+Backspace', '-Backspace', '+Enter', '-Enter'])
  typing.compositionStart()
  expect(typing.edit({ inputType: 'deleteContentBackward', data: null, isComposing: true })).toBe(false)
  typing.compositionEnd('hello')
  expect(sent.at(-1)).toEqual({ kind: 'text', text: 'hello' })
  expect(down.size).toBe(0)
})

const MODIFIER_OF: Record<string, 'shiftKey' | 'ctrlKey' | 'altKey' | 'metaKey'> = {
  ...{ ShiftLeft: 'shiftKey', ControlLeft: 'ctrlKey', AltLeft: 'altKey', MetaLeft: 'metaKey' },
}
const KEYS = [...Object.keys(MODIFIER_OF), 'KeyV', 'KeyC', 'KeyA', 'Enter', 'Insert', 'CapsLock']
const act = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ act: fc.constantFrom('down', 'up'), code: fc.constantFrom(...KEYS) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      act: fc.constantFrom('blur', 'disconnect', 'paste', 'click', 'move', 'wait', 'compose', 'composed'),
      code: fc.constant(''),
    }),
  },
)

test.each<Platform>(['other', 'windows', 'mac'])(
  '10,000 times the focus goes, connections break, pastes and keys come: no key is left stuck (%s)',
  (platform) => {
    fc.assert(
      fc.property(fc.array(act, { minLength: 500, maxLength: 500, size: 'max' }), (acts) => {
        const { paste, typing, down } = setUp(platform)
        const held = new Set<string>()
        const event = (code: string): KeyInput => {
          const flags: Fields = {}
          for (const one of held) {
            const field = MODIFIER_OF[one]
            if (field) Object.assign(flags, { [field]: true })
          }
          return keyEvent(code, code.replace(/^Key/, '').toLowerCase(), {
            ...flags,
            isComposing: typing.composing,
          })
        }
        for (const { act, code } of acts) {
          if (act === 'down') {
            held.add(code)
            paste.keyDown(event(code))
          } else if (act === 'up') {
            held.delete(code)
            paste.keyUp(event(code))
          } else if (act === 'blur') {
            typing.abandon()
            paste.releaseAll()
            expect(down.size).toBe(0)
          } else if (act === 'disconnect') {
            paste.forget()
            down.clear()
          } else if (act === 'paste') paste.pasted('x')
          else if (act === 'click') paste.observePress(event(''))
          else if (act === 'move') paste.observe(event(''))
          else if (act === 'wait') vi.advanceTimersByTime(70)
          else if (act === 'compose') typing.compositionStart()
          else typing.compositionEnd('é')
        }
        // Everything is let go, and the pointer moves.
        for (const code of [...held].sort((a) => (a === 'MetaLeft' ? 1 : -1))) {
          held.delete(code)
          paste.keyUp(event(code))
        }
        vi.advanceTimersByTime(70)
        paste.observe(event(''))
        expect([...down]).toEqual([])
      }),
      { numRuns: 20 },
    )
  },
)
