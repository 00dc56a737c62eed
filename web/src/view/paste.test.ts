import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keyEvent } from './keyboard.testing.ts'
import { Keyboard, type Platform } from './keyboard.ts'
import { PASTE_WAIT_MS, Paste, type PasteVerdict } from './paste.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

function setUp(platform: Platform = 'other') {
  const log: string[] = []
  const keyboard = new Keyboard((message) => {
    if (message.kind === 'key') log.push(`${message.down ? '+' : '-'}${message.code}`)
    else log.push(message.kind === 'text' ? `"${message.text}"` : message.kind)
  }, platform)
  const says = { enabled: true, verdict: 'send' as PasteVerdict }
  const target = {
    enabled: () => says.enabled,
    judge: () => says.verdict,
    send: (text: string) => log.push(`clipboard ${text}`),
  }
  return { paste: new Paste(keyboard, target, platform), keyboard, log, says }
}

const CTRL = { ctrlKey: true }
const ctrlDown = keyEvent('ControlLeft', 'Control', CTRL)
const ctrlUp = keyEvent('ControlLeft', 'Control')
const v = keyEvent('KeyV', 'v', CTRL)

test('the text goes first, then the key that pastes it', () => {
  const { paste, log } = setUp()
  paste.keyDown(ctrlDown)
  // Left to the browser: only then does it paste.
  expect(paste.keyDown(v)).toBe(false)
  expect(log).toEqual(['+ControlLeft'])
  paste.pasted('hello')
  paste.keyUp(v)
  paste.keyUp(ctrlUp)
  vi.advanceTimersByTime(1000)
  expect(log).toEqual(['+ControlLeft', 'clipboard hello', '+KeyV', '-KeyV', '-ControlLeft'])
})

test.each([
  ['Ctrl+Shift+V', keyEvent('KeyV', 'V', { ctrlKey: true, shiftKey: true })],
  ['Shift+Insert', keyEvent('Insert', 'Insert', { shiftKey: true })],
  ['Ctrl+V of a Russian keyboard', keyEvent('KeyV', 'м', CTRL)],
  ['Ctrl+V of a Dvorak keyboard', keyEvent('Period', 'v', CTRL)],
])('%s waits for the text', (_, event) => {
  const { paste, log } = setUp()
  expect(paste.keyDown(event)).toBe(false)
  paste.pasted('x')
  expect(log.indexOf('clipboard x')).toBeLessThan(log.indexOf(`+${event.code}`))
})

test.each([
  ['V alone', keyEvent('KeyV', 'v')],
  ['Ctrl+Alt+V', keyEvent('KeyV', 'v', { ctrlKey: true, altKey: true })],
  ['AltGr+V', keyEvent('KeyV', '„', { ctrlKey: true, states: ['AltGraph'] })],
  ['a repeat', keyEvent('KeyV', 'v', { ctrlKey: true, repeat: true })],
  ['the V of a Dvorak keyboard', keyEvent('KeyV', 'k', CTRL)],
  ['Ctrl+Insert', keyEvent('Insert', 'Insert', CTRL)],
])('%s does not', (_, event) => {
  const { paste } = setUp()
  expect(paste.keyDown(event)).toBe(true)
})

test('keys that come while it waits keep their order', () => {
  const { paste, log } = setUp()
  paste.keyDown(ctrlDown)
  paste.keyDown(v)
  expect(paste.keyUp(v)).toBe(true)
  paste.keyUp(ctrlUp)
  expect(paste.keyDown(keyEvent('KeyA', 'a'))).toBe(true)
  paste.observe(keyEvent('', ''))
  expect(log).toEqual(['+ControlLeft'])
  paste.pasted('x')
  expect(log).toEqual(['+ControlLeft', 'clipboard x', '+KeyV', '-KeyV', '-ControlLeft', '+KeyA'])
})

test('without an answer the key goes alone, and an answer that is late types nothing', () => {
  const { paste, log } = setUp()
  paste.keyDown(ctrlDown)
  paste.keyDown(v)
  vi.advanceTimersByTime(PASTE_WAIT_MS)
  expect(log).toEqual(['+ControlLeft', '+KeyV'])
  paste.pasted('x')
  expect(log.slice(2)).toEqual(['clipboard x'])
})

test('what both sides hold does not travel; what may not travel is not pasted', () => {
  const { paste, log, says } = setUp()
  says.verdict = 'keep'
  paste.keyDown(v)
  paste.pasted('x')
  expect(log).toEqual(['+ControlLeft', '+KeyV'])
  paste.keyUp(v)
  says.verdict = 'refuse'
  paste.keyDown(v)
  paste.pasted('too long')
  paste.keyUp(v)
  paste.keyUp(ctrlUp)
  expect(log.slice(2)).toEqual(['-KeyV', '-ControlLeft'])
})

test("a paste from the browser's menu brings the text and types Ctrl+V", () => {
  const { paste, log } = setUp()
  paste.pasted('x')
  expect(log).toEqual(['clipboard x', '+ControlLeft', '+KeyV', '-KeyV', '-ControlLeft'])
  paste.pasted('')
  expect(log).toHaveLength(5)
})

test('a click does not wait', () => {
  const { paste, log } = setUp()
  paste.keyDown(v)
  paste.observePress(keyEvent('', '', CTRL))
  expect(log).toEqual(['+ControlLeft', '+KeyV'])
})

test('without the right nothing is read and nothing waits', () => {
  const { paste, log, says } = setUp()
  says.enabled = false
  expect(paste.keyDown(v)).toBe(true)
  paste.pasted('secret')
  expect(log).toEqual(['+ControlLeft', '+KeyV'])
})

test.each(['releaseAll', 'forget'] as const)('after %s nothing that waited is pressed', (how) => {
  const { paste, keyboard, log } = setUp()
  paste.keyDown(ctrlDown)
  paste.keyDown(v)
  paste.keyUp(v)
  paste[how]()
  vi.advanceTimersByTime(1000)
  expect(log).toEqual(how === 'forget' ? ['+ControlLeft'] : ['+ControlLeft', 'release-all'])
  expect(keyboard.down.size).toBe(0)
})

test("a Mac's Cmd+V is Ctrl+V in the session, after the text", () => {
  const { paste, log } = setUp('mac')
  const meta = { metaKey: true }
  paste.keyDown(keyEvent('MetaLeft', 'Meta', meta))
  expect(paste.keyDown(keyEvent('KeyV', 'v', meta))).toBe(false)
  paste.pasted('x')
  paste.keyUp(keyEvent('MetaLeft', 'Meta'))
  expect(log).toEqual(['clipboard x', '+ControlLeft', '+KeyV', '-KeyV', '-ControlLeft'])
})
