/**
 * The live view's messages: one WebSocket, binary, byte 0 is the kind, little endian.
 *
 * In: the bytes of a server message; out: a {@link ServerMessage}. In: what the viewer did; out: the bytes for the
 * server. Every length is checked before it is used: the bytes come from inside a session, which may be hostile.
 * Never does I/O, so it fails in one way only: {@link MalformedError}.
 */

import { clampU16, MalformedError, Reader, utf8, Writer } from './bytes.ts'
import type { Room } from './room.ts'
import type { PeerPointer } from './share.ts'
import { type ClipboardMessage, decodeClipboard, decodePeer, decodeRoom, decodeSound } from './share.ts'

/** Version of the format, in both hellos. */
export const WIRE_VERSION = 1

/** A screen may be this wide and this high; more would only be a way to exhaust the viewer's memory. */
export const SCREEN_SIDE_MAX = 8192

/** A pointer shape may have this many pixels a side; X servers stay far below. */
export const CURSOR_SIDE_MAX = 512

/** Bytes that one text message carries at most: its length is a u16. */
export const TEXT_BYTES_MAX = 0xffff

/** A picture update as it travels, whatever its kind. */
export interface Update {
  readonly seq: number
  /** The last input that the server had applied before it captured this picture. */
  readonly inputSeq: number
  readonly body: Uint8Array<ArrayBuffer>
}

/** What the server says. `unknown` is a kind of a newer server: the page ignores it. */
export type ServerMessage =
  | { kind: 'hello'; width: number; height: number; takesRequests: boolean }
  | { kind: 'deflated'; update: Update; inflatedLength: number }
  | { kind: 'plain'; update: Update }
  | { kind: 'video'; update: Update; keyFrame: boolean; codec: number; rects: readonly Rect[] }
  | { kind: 'cursor'; cursor: CursorShape }
  | { kind: 'clipboard'; clipboard: ClipboardMessage }
  | { kind: 'room'; room: Room }
  | { kind: 'peer'; peer: PeerPointer }
  | { kind: 'sound'; seq: number; packet: Uint8Array<ArrayBuffer> }
  | { kind: 'unknown'; code: number }

/** An area of the screen. */
export interface Rect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** A pointer's shape: straight (not premultiplied) RGBA. No pixels at all: the pointer is hidden. */
export interface CursorShape {
  readonly width: number
  readonly height: number
  readonly hotX: number
  readonly hotY: number
  readonly rgba: Uint8Array<ArrayBuffer>
}

/** X button numbers. */
export const Button = { left: 1, middle: 2, right: 3, back: 8, forward: 9 } as const
export type Button = (typeof Button)[keyof typeof Button]

/** Bits of a key message's modifier byte. */
export const Modifier = {
  shift: 1,
  ctrl: 2,
  alt: 4,
  meta: 8,
  altGraph: 16,
  capsLock: 32,
  numLock: 64,
} as const

/** Bits of the page's hello. `near`: the link's round trip is short. */
export const Capability = { deflateRaw: 1, video: 2, jpeg: 4, near: 8 } as const

/** In the server's hello: it takes requests, the page's messages of kind 10 and above. */
const TAKES_REQUESTS = 1

/** What the viewer did, in remote pixels. Each gets the connection's next input number when it is sent. */
export type Input =
  | { kind: 'pointer'; x: number; y: number }
  | { kind: 'button'; button: Button; down: boolean; x: number; y: number }
  | { kind: 'wheel'; dx: number; dy: number; x: number; y: number }
  | { kind: 'key'; down: boolean; repeat: boolean; modifiers: number; code: string; key: string }
  | { kind: 'text'; text: string }
  | { kind: 'release-all' }
  /** The session's clipboard holds this text from here on; the keys that follow paste it. */
  | { kind: 'clipboard'; text: string }

/** What a viewer may do about who controls. */
export const Verb = { ask: 0, take: 1, give: 2, release: 3, refuse: 4, takeOver: 5, giveBack: 6 } as const
export type Verb = (typeof Verb)[keyof typeof Verb]

/** What the page asks for beside inputs; none of it is numbered. */
export type Request =
  | { kind: 'video-failed'; broken: boolean }
  | { kind: 'resize'; width: number; height: number }
  /** `viewer` is 0 where the verb names nobody. */
  | { kind: 'control'; verb: Verb; viewer: number }
  | { kind: 'sound'; on: boolean }
  | { kind: 'fetch-clipboard' }

/** Reads one server message. */
export function decode(message: Uint8Array<ArrayBuffer>): ServerMessage {
  const reader = new Reader(message)
  const code = reader.u8()
  switch (code) {
    case 1:
      return decodeHello(reader)
    case 2: {
      const [seq, inputSeq, inflatedLength] = [reader.u32(), reader.u32(), reader.u32()]
      return { kind: 'deflated', update: { seq, inputSeq, body: reader.rest() }, inflatedLength }
    }
    case 3: {
      const [seq, inputSeq] = [reader.u32(), reader.u32()]
      return { kind: 'plain', update: { seq, inputSeq, body: reader.rest() } }
    }
    case 4: {
      const [seq, inputSeq, flags, codec] = [reader.u32(), reader.u32(), reader.u8(), reader.u8()]
      const rects = Array.from({ length: reader.u16() }, () => ({
        x: reader.u16(),
        y: reader.u16(),
        width: reader.u16(),
        height: reader.u16(),
      }))
      return {
        kind: 'video',
        update: { seq, inputSeq, body: reader.rest() },
        keyFrame: (flags & 1) === 1,
        codec,
        rects,
      }
    }
    case 5:
      return { kind: 'cursor', cursor: decodeCursor(reader) }
    case 6:
      return { kind: 'clipboard', clipboard: decodeClipboard(reader) }
    case 7:
      return { kind: 'room', room: decodeRoom(reader) }
    case 8:
      return { kind: 'peer', peer: decodePeer(reader) }
    case 9:
      return { kind: 'sound', ...decodeSound(reader) }
    default:
      return { kind: 'unknown', code }
  }
}

function decodeHello(reader: Reader): ServerMessage {
  const [version, width, height] = [reader.u8(), reader.u16(), reader.u16()]
  if (version !== WIRE_VERSION) {
    throw new MalformedError(`the server speaks version ${version} of the format, this page ${WIRE_VERSION}`)
  }
  if (width < 1 || height < 1 || width > SCREEN_SIDE_MAX || height > SCREEN_SIDE_MAX) {
    throw new MalformedError(
      `a screen of ${width}x${height} pixels; allowed: 1 to ${SCREEN_SIDE_MAX} on a side`,
    )
  }
  // Guests of earlier releases end here.
  const features = reader.atEnd ? 0 : reader.u8()
  return { kind: 'hello', width, height, takesRequests: (features & TAKES_REQUESTS) !== 0 }
}

function decodeCursor(reader: Reader): CursorShape {
  const [width, height, hotX, hotY] = [reader.u16(), reader.u16(), reader.u16(), reader.u16()]
  if (width > CURSOR_SIDE_MAX || height > CURSOR_SIDE_MAX) {
    throw new MalformedError(
      `a pointer of ${width}x${height} pixels; allowed: at most ${CURSOR_SIDE_MAX} on a side`,
    )
  }
  const rgba = reader.bytes(width * height * 4)
  if (!reader.atEnd) throw new MalformedError(`a pointer of ${width}x${height} pixels with bytes after them`)
  return { width, height, hotX, hotY, rgba }
}

/** The page's first message: how large its window is (device pixels), and what it can decode. */
export function encodeHello(viewport: { width: number; height: number }, capabilities: number) {
  return new Writer(1)
    .u8(WIRE_VERSION)
    .u16(clampU16(viewport.width))
    .u16(clampU16(viewport.height))
    .u8(capabilities)
    .finish()
}

/** Update `seq` has arrived; sent before it is decoded. */
export function encodeReceived(seq: number) {
  return new Writer(2).u32(seq).finish()
}

/** Update `seq` is on the canvas. */
export function encodePainted(seq: number) {
  return new Writer(3).u32(seq).finish()
}

/** One request; only a server whose hello says so takes any. */
export function encodeRequest(request: Request) {
  switch (request.kind) {
    case 'video-failed':
      // A key frame may help, or no video may come any more.
      return new Writer(10).u8(request.broken ? 1 : 0).finish()
    case 'resize':
      return new Writer(12).u16(clampU16(request.width)).u16(clampU16(request.height)).finish()
    case 'control':
      return new Writer(13).u8(request.verb).u32(request.viewer).finish()
    case 'sound':
      return new Writer(14).u8(request.on ? 1 : 0).finish()
    case 'fetch-clipboard':
      return new Writer(15).finish()
  }
}

/** One input, as number `inputSeq` of its connection. */
export function encodeInput(inputSeq: number, input: Input) {
  switch (input.kind) {
    case 'pointer':
      return new Writer(4).u32(inputSeq).u16(input.x).u16(input.y).finish()
    case 'button':
      return new Writer(5)
        .u32(inputSeq)
        .u8(input.button)
        .u8(input.down ? 1 : 0)
        .u16(input.x)
        .u16(input.y)
        .finish()
    case 'wheel':
      return new Writer(6).u32(inputSeq).i16(input.dx).i16(input.dy).u16(input.x).u16(input.y).finish()
    case 'key':
      return new Writer(7)
        .u32(inputSeq)
        .u8((input.down ? 1 : 0) | (input.repeat ? 2 : 0))
        .u8(input.modifiers)
        .keyName(input.code)
        .keyName(input.key)
        .finish()
    case 'text': {
      const text = utf8.encode(input.text)
      return new Writer(8).u32(inputSeq).u16(text.length).bytes(text).finish()
    }
    case 'release-all':
      return new Writer(9).u32(inputSeq).finish()
    case 'clipboard':
      return new Writer(11).u32(inputSeq).u8(0).finishWith(utf8.encode(input.text))
  }
}

/** Cuts text into pieces that fit a text message, never inside a character. */
export function textPieces(text: string, bytesMax = TEXT_BYTES_MAX): string[] {
  const pieces: string[] = []
  let piece = ''
  let size = 0
  for (const character of text) {
    const length = utf8.encode(character).length
    if (size + length > bytesMax) {
      pieces.push(piece)
      piece = ''
      size = 0
    }
    piece += character
    size += length
  }
  if (piece !== '') pieces.push(piece)
  return pieces
}
