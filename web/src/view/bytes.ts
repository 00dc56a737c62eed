/** Reads and writes the bytes of messages: little endian, every length checked before it is used. */

/** Bytes of a key's code or name; the longest of any browser has about 25, and the server takes no more. */
const KEY_NAME_BYTES_MAX = 64

/** The server said something that the format does not allow. The connection cannot be trusted any more. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

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

export const utf8 = new TextEncoder()

export function clampU16(value: number): number {
  return Math.max(0, Math.min(0xffff, Math.round(value)))
}

/** Collects the bytes of one message. What grows here is short, so a plain array is enough. */
export class Writer {
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

  /** The message, with `tail` at its end: what may be long is not copied byte by byte. */
  finishWith(tail: Uint8Array): Uint8Array<ArrayBuffer> {
    const message = new Uint8Array(this.#bytes.length + tail.length)
    message.set(this.#bytes)
    message.set(tail, this.#bytes.length)
    return message
  }

  finish(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes)
  }
}
