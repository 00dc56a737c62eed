import { expect, test } from 'vitest'
import type { EndReason } from '../view/state.ts'
import { wordsFor } from './words.ts'

test('a lost connection is told with its attempt and its reason', () => {
  const words = wordsFor({ state: 'reconnecting', attempt: 4, reason: 'the server cannot be reached' }, null)
  expect(words).toMatchObject({ title: 'Reconnecting', detail: 'Attempt 4', remedy: null })
  expect(words.text).toMatch(/^The server cannot be reached\./)
})

test('the first attempt names the session, later ones are counted', () => {
  expect(wordsFor({ state: 'connecting', attempt: 1, reason: null }, 's-1').detail).toBe('s-1')
  expect(wordsFor({ state: 'connecting', attempt: 2, reason: 'x' }, 's-1').detail).toBe('Attempt 2')
})

test.each<EndReason>(['expired', 'unknown', 'released', 'idle', 'lifetime', 'crashed', 'ended'])(
  'an end (%s) says what happened and how to get a picture again',
  (reason) => {
    const silent = wordsFor({ state: 'ended', reason, message: '' }, null)
    expect(silent.title).not.toBe('')
    expect(silent.text).not.toBe('')
    expect(silent.remedy?.text).toContain('session.info()')
    expect(silent.remedy?.code).toContain('resource_url')
    expect(wordsFor({ state: 'ended', reason, message: 'the server says why' }, null).text).toBe(
      'The server says why.',
    )
  },
)

test('an expired link names the session whose new link it asks for', () => {
  expect(wordsFor({ state: 'ended', reason: 'expired', message: '' }, 's-1').remedy?.code).toContain('"s-1"')
})
