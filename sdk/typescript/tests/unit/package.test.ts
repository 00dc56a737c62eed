import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import * as sdk from '../../src/index.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('has the version of its package', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(sdk.VERSION).toBe(version)
  expect(sdk.getSdkVersion()).toBe(version)
  expect(sdk.isReleaseVersion()).toBe(true)
})

it('knows every sentence with which a server says why a session ended', () => {
  const life = readFileSync(join(root, '../../crates/control/src/life.rs'), 'utf8')
  const words = [...life.matchAll(/EndReason::(\w+) => "([a-z-]+)",/g)].map(([, name, word]) => [name, word])
  const sentences = new Map(
    [...life.matchAll(/EndReason::(\w+) => "(\w+ [^"]+)",/g)].map(([, n, s]) => [n, s]),
  )
  expect(words.length).toBeGreaterThan(7)
  for (const [name, word] of words) {
    const message = `session \`s-1\` not found or expired: ${sentences.get(name)} (key \`a\`) at 2026-01-01T00:00:00Z`
    expect(new sdk.SessionEndedError(message).reason).toBe(word)
  }
  expect(new sdk.SessionEndedError('session `s-1` not found or expired: of old age').reason).toBe('unknown')
})

it('has one family of errors', () => {
  const errors = Object.entries(sdk).filter(([name]) => name.endsWith('Error') && name !== 'logError')
  expect(errors.length).toBeGreaterThan(18)
  for (const [name, Class] of errors) {
    const error = new (Class as typeof sdk.AGBError)()
    expect(error).toBeInstanceOf(sdk.AGBError)
    expect(error.name).toBe(name)
    expect(error.message).not.toBe('')
    expect(error.requestId + error.code).toBe('')
  }
  expect(new sdk.APIError('m', 500, { a: 1 })).toMatchObject({ statusCode: 500, extra: { a: 1 } })
})
