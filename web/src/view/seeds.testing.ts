/** The seeds that the fuzz targets of both ends start from (see `fuzz/README.md`): rows of messages in files. */

import { readFileSync } from 'node:fs'

const FOLDER = new URL('../../../fuzz/seeds/', import.meta.url)

export function seedFile(name: string): URL {
  return new URL(name, FOLDER)
}

/** Messages one behind the other, each behind its length. */
export function joinRow(messages: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(
    messages.flatMap((message) => [...new Uint8Array(Uint32Array.of(message.length).buffer), ...message]),
  )
}

export function readRow(name: string): Uint8Array<ArrayBuffer>[] {
  const file = Uint8Array.from(readFileSync(seedFile(name)))
  const messages: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at < file.length; ) {
    const length = new DataView(file.buffer, at, 4).getUint32(0, true)
    messages.push(file.slice(at + 4, at + 4 + length))
    at += 4 + length
  }
  return messages
}
