/** What the page says, as seeds for the server's fuzz targets. `BERTH_UPDATE_SEEDS=1` writes them anew. */

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { joinRow, seedFile } from './seeds.testing.ts'
import {
  encodeHello,
  encodeInput,
  encodePainted,
  encodeReceived,
  encodeRequest,
  type Input,
  type Request,
  Verb,
} from './wire.ts'

const at = { x: 300, y: 2 }
const key = { kind: 'key', repeat: false, modifiers: 0 } as const
const INPUTS: Record<string, Input> = {
  pointer: { kind: 'pointer', ...at },
  button: { kind: 'button', button: 1, down: true, ...at },
  wheel: { kind: 'wheel', dx: -120, dy: 240, ...at },
  'key-down': { ...key, down: true, modifiers: 18, code: 'KeyQ', key: '@' },
  'key-up': { ...key, down: false, code: 'Enter', key: 'Enter' },
  text: { kind: 'text', text: '日本語é' },
  release: { kind: 'release-all' },
  clipboard: { kind: 'clipboard', text: 'käse' },
}
const REQUESTS: Record<string, Request> = {
  'video-failed': { kind: 'video-failed', broken: true },
  resize: { kind: 'resize', width: 1280, height: 720 },
  take: { kind: 'control', verb: Verb.take, viewer: 0 },
  give: { kind: 'control', verb: Verb.give, viewer: 2 },
  sound: { kind: 'sound', on: true },
  fetch: { kind: 'fetch-clipboard' },
}

const hello = encodeHello({ width: 1280, height: 720 }, 7)
const messages = new Map<string, Uint8Array>([
  ['hello', hello],
  ['received', encodeReceived(1)],
  ['painted', encodePainted(1)],
  ...Object.entries(INPUTS).map(([name, input]) => [name, encodeInput(1, input)] as const),
  ...Object.entries(REQUESTS).map(([name, request]) => [name, encodeRequest(request)] as const),
])

/** Steps of the stateful target: what happens, in the high half of the first byte, and to which page. */
const CAPTURE = Uint8Array.of(0x20, 0, 0, 0)
const INJECT = Uint8Array.of(0x30)
const ATTACH_WATCHER = Uint8Array.of(0x11, 0)
const LEAVE = Uint8Array.of(0)
const says = (page: number, message: Uint8Array) => Uint8Array.of(0x60 | page, ...message)
const others = [...messages.values()].slice(1)
const company = joinRow([
  ...[says(0, hello), ATTACH_WATCHER, says(1, hello), says(2, hello), CAPTURE],
  ...others.flatMap((message) => [says(0, message), says(1, message), says(2, message)]),
  ...[INJECT, CAPTURE, says(2, encodeRequest({ kind: 'control', verb: Verb.ask, viewer: 0 })), LEAVE, INJECT],
])

test.each([
  ...[...messages].map(([name, message]) => [`page/${name}`, message] as const),
  ['viewers/company', company] as const,
])('the seed %s is what the page says', (name, bytes) => {
  if (process.env.BERTH_UPDATE_SEEDS) writeFileSync(seedFile(name), bytes)
  expect(Uint8Array.from(readFileSync(seedFile(name)))).toEqual(bytes)
})
