import { expect, test } from 'vitest'
import { Clipboard } from './clipboard.ts'
import { CLIPBOARD_TEXT_BYTES_MAX } from './share.ts'

test('a text travels once', () => {
  const clipboard = new Clipboard()
  expect(clipboard.judge('a')).toBe('send')
  clipboard.sent('a')
  expect(clipboard.judge('a')).toBe('keep')
  expect(clipboard.judge('b')).toBe('send')
  // The session's clipboard tells of what was just put into it.
  clipboard.received({ kind: 'text', text: 'a' })
  expect(clipboard.offer).toBeNull()
  clipboard.forget()
  expect(clipboard.judge('a')).toBe('send')
})

test('what came from the session does not go back, once it is here', () => {
  const clipboard = new Clipboard()
  clipboard.sent('before')
  clipboard.received({ kind: 'text', text: 'a' })
  expect(clipboard.offer?.taken).toBe(false)
  // This computer still holds something else, and the session no longer does.
  expect(clipboard.judge('before')).toBe('send')
  clipboard.taken()
  expect(clipboard.offer?.taken).toBe(true)
  expect(clipboard.judge('a')).toBe('keep')
})

test('a picture that was taken is no text', () => {
  const clipboard = new Clipboard()
  clipboard.sent('a')
  clipboard.received({ kind: 'announced', what: 'picture', bytes: 9 })
  clipboard.taken()
  expect(clipboard.judge('a')).toBe('send')
})

test('the bytes count, not the characters', () => {
  const clipboard = new Clipboard()
  expect(clipboard.judge('a'.repeat(CLIPBOARD_TEXT_BYTES_MAX))).toBe('send')
  expect(clipboard.judge('a'.repeat(CLIPBOARD_TEXT_BYTES_MAX + 1))).toBe('refuse')
  expect(clipboard.judge('€'.repeat(Math.ceil(CLIPBOARD_TEXT_BYTES_MAX / 3)))).toBe('refuse')
})
