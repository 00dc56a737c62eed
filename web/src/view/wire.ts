/**
 * The live view's messages: one WebSocket, binary, byte 0 is the kind, little endian.
 *
 * In: the bytes of a server message; out: a {@link ServerMessage}. In: what the viewer did; out: the bytes for the
 * server. Every length is checked before it is used: the bytes come from inside a session, which may be hostile.
 * Never does I/O, so it fails in one way only: {@link MalformedError}.
 */

/** Version of the format, in both hellos. */
export const WIRE_VERSION = 1

/** A screen may be this wide and this high; more would only be a way to exhaust the viewer's memory. */
export const SCREEN_SIDE_MAX = 8192

/** A pointer shape may have this many pixels a side; X servers stay far below. */
export const CURSOR_SIDE_MAX = 512

/** Bytes that one text message carries at most: its length is a u16. */
export const TEXT_BYTES_MAX = 0xffff

/** Bytes of a key's code or name; the longest of any browser has about 25, and the server takes no more. */
export const KEY_NAME_BYTES_MAX = 64

/** The server said something that the format does not allow. The connection cannot be trusted any more. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

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

/** Bits of the page's hello. */
export const Capability = { deflateRaw: 1, video: 2, jpeg: 4 } as const

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

/** Reads numbers and pieces from bytes, and refuses to read past their end. */
export class Reader {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true)
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true)
  }

  /** The next `length` bytes, not copied. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const from = this.#advance(length)
    return this.#bytes.subarray(from, from + length)
  }

  rest(): Uint8Array<ArrayBuffer> {
    return this.bytes(this.#bytes.length - this.#at)
  }

  #advance(length: number): number {
    const from = this.#at
    if (length > this.#bytes.length - from) {
      throw new MalformedError(
        `a message of ${this.#bytes.length} bytes ends ${from + length - this.#bytes.length} bytes too early`,
      )
    }
    this.#at = from + length
    return from
  }
}

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

/** The video cannot be decoded: a key frame may help, or no video may come any more. */
export function encodeVideoFailed(broken: boolean) {
  return new Writer(10).u8(broken ? 1 : 0).finish()
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
  }
}

const utf8 = new TextEncoder()

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

function clampU16(value: number): number {
  return Math.max(0, Math.min(0xffff, Math.round(value)))
}

/** Collects the bytes of one message. Messages of the page are short, so growing a plain array is enough. */
class Writer {
  readonly #bytes: number[]

  constructor(kind: number) {
    this.#bytes = [kind]
  }

  u8(value: number): this {
    this.#bytes.push(value & 0xff)
    return this
  }

  u16(value: number): this {
    return this.u8(value).u8(value >> 8)
  }

  i16(value: number): this {
    return this.u16(value)
  }

  u32(value: number): this {
    return this.u16(value).u16(value >>> 16)
  }

  bytes(bytes: Uint8Array): this {
    for (const byte of bytes) this.#bytes.push(byte)
    return this
  }

  /** A key's code or name; a longer one is no key of any keyboard and travels as nothing. */
  keyName(text: string): this {
    const bytes = utf8.encode(text)
    return bytes.length > KEY_NAME_BYTES_MAX ? this.u8(0) : this.u8(bytes.length).bytes(bytes)
  }

  finish(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes)
  }
}
