/**
 * What a session shares beside its picture: clipboard, who looks and controls, others' pointers, sound.
 *
 * In: a message after its kind; out: what it says, checked. As in `wire.ts`, the one failure is {@link MalformedError}.
 */

import { MalformedError, type Reader } from './bytes.ts'
import { parseRoom, type Room } from './room.ts'

/** Text of this many bytes is exchanged at most, in both directions. */
export const CLIPBOARD_TEXT_BYTES_MAX = 1 << 20

/** A picture of the clipboard, as PNG. */
export const CLIPBOARD_PICTURE_BYTES_MAX = 16 << 20

/** Who looks, as JSON. */
export const ROOM_BYTES_MAX = 64 << 10

/** A packet of 20 ms; at 128 kbit/s it has 320 bytes, and Opus itself ends far below this. */
export const SOUND_PACKET_BYTES_MAX = 4096

/** The session's clipboard: its content, or word of one that is sent only when it is asked for. */
export type ClipboardMessage =
  | { kind: 'text'; text: string }
  | { kind: 'picture'; png: Uint8Array<ArrayBuffer> }
  | { kind: 'announced'; what: 'text' | 'picture'; bytes: number }

/** The pointer of the agent (viewer 0) or of another person. */
export interface PeerPointer {
  readonly agent: boolean
  readonly viewer: number
  readonly x: number
  readonly y: number
  readonly action: 'moved' | 'down' | 'up' | 'types'
}

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const
const ACTIONS = ['moved', 'down', 'up', 'types'] as const
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function decodeClipboard(reader: Reader): ClipboardMessage {
  const what = reader.u8()
  switch (what) {
    case 0:
      return { kind: 'text', text: textOf(reader.rest(), CLIPBOARD_TEXT_BYTES_MAX, 'a clipboard') }
    case 1:
      return { kind: 'picture', png: pngOf(reader.rest()) }
    case 2:
    case 3: {
      const bytes = reader.u32()
      if (!reader.atEnd) throw new MalformedError('an announced clipboard with bytes after its size')
      return { kind: 'announced', what: what === 2 ? 'text' : 'picture', bytes }
    }
    default:
      throw new MalformedError(`a clipboard of kind ${what}; known: 0 to 3`)
  }
}

export function decodeRoom(reader: Reader): Room {
  const you = reader.u32()
  const json = textOf(reader.rest(), ROOM_BYTES_MAX, 'a state')
  let body: unknown
  try {
    body = JSON.parse(json)
  } catch {
    throw new MalformedError('a state that is not JSON')
  }
  const room = parseRoom(you, body)
  if (!room) throw new MalformedError('a state without its fields')
  return room
}

export function decodePeer(reader: Reader): PeerPointer {
  const [who, viewer, x, y, code] = [reader.u8(), reader.u32(), reader.u16(), reader.u16(), reader.u8()]
  const action = ACTIONS[code]
  if (who > 1 || !action) throw new MalformedError(`a pointer of kind ${who} with action ${code}`)
  return { agent: who === 0, viewer: who === 0 ? 0 : viewer, x, y, action }
}

export function decodeSound(reader: Reader): { seq: number; packet: Uint8Array<ArrayBuffer> } {
  const seq = reader.u32()
  const packet = reader.rest()
  if (packet.length < 1 || packet.length > SOUND_PACKET_BYTES_MAX) {
    throw new MalformedError(`a sound of ${packet.length} bytes; allowed: 1 to ${SOUND_PACKET_BYTES_MAX}`)
  }
  return { seq, packet }
}

function textOf(bytes: Uint8Array<ArrayBuffer>, bytesMax: number, what: string): string {
  if (bytes.length > bytesMax) {
    throw new MalformedError(`${what} of ${bytes.length} bytes; allowed: ${bytesMax}`)
  }
  try {
    return utf8.decode(bytes)
  } catch {
    throw new MalformedError(`${what} that is not UTF-8`)
  }
}

function pngOf(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length > CLIPBOARD_PICTURE_BYTES_MAX) {
    throw new MalformedError(`a picture of ${bytes.length} bytes; allowed: ${CLIPBOARD_PICTURE_BYTES_MAX}`)
  }
  if (!PNG_SIGNATURE.every((byte, at) => bytes[at] === byte)) {
    throw new MalformedError('a picture on the clipboard that is no PNG')
  }
  return bytes
}
