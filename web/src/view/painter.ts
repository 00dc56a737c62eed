/**
 * Paints the drawing operations of an update.
 *
 * In: the (inflated) operations; out: calls on a {@link Surface}. Every area is checked against the screen and every
 * length against the bytes before a pixel is touched. Never keeps state between updates but its scratch memory.
 */

import { MalformedError, Reader } from './bytes.ts'
import type { Surface } from './surface.ts'

/**
 * How often one update may paint the whole screen. A few bytes can order a fill of everything, so the length of an
 * update does not bound its work. A sane update paints a pixel about twice: copied, then repainted.
 */
const SCREENS_PAINTED_MAX = 64

/** Operations in one update carry at most this many bytes for a screen of this size. */
export function opsBytesMax(width: number, height: number): number {
  // Every pixel once in true colour, as much again for the headers of small areas.
  return width * height * 6 + (1 << 20)
}

const OPAQUE = 0xff000000

export class Painter {
  /** Pixels of one operation; grows to the largest seen, which the screen's size bounds. */
  #scratch = new Uint32Array(64 * 64)

  /** Paints `ops` in order, or throws {@link MalformedError} at the first that makes no sense. */
  paint(ops: Uint8Array<ArrayBuffer>, surface: Surface): void {
    const reader = new Reader(ops)
    let budget = surface.width * surface.height * SCREENS_PAINTED_MAX
    while (!reader.atEnd) {
      budget -= this.#paintOne(reader, surface)
      if (budget < 0) {
        throw new MalformedError(`an update paints the screen more than ${SCREENS_PAINTED_MAX} times`)
      }
    }
  }

  /** Returns how many pixels it painted. */
  #paintOne(reader: Reader, surface: Surface): number {
    const op = reader.u8()
    switch (op) {
      case 1: {
        const [sx, sy] = [reader.u16(), reader.u16()]
        const { x, y, width, height } = area(reader, surface)
        checkInside('copy from', sx, sy, width, height, surface)
        surface.copy(sx, sy, x, y, width, height)
        return width * height
      }
      case 2: {
        const { x, y, width, height } = area(reader, surface)
        surface.fill(x, y, width, height, reader.u8(), reader.u8(), reader.u8())
        return width * height
      }
      case 3: {
        const { x, y, width, height } = area(reader, surface)
        const pixels = this.#pixels(width * height)
        readPalette(reader, width, height, pixels)
        surface.put(x, y, width, height, pixels)
        return width * height
      }
      case 4: {
        const { x, y, width, height } = area(reader, surface)
        const pixels = this.#pixels(width * height)
        readTrueColour(reader.bytes(width * height * 3), width, pixels)
        surface.put(x, y, width, height, pixels)
        return width * height
      }
      default:
        throw new MalformedError(`drawing operation ${op} is not one of this version's`)
    }
  }

  #pixels(count: number): Uint32Array<ArrayBuffer> {
    if (this.#scratch.length < count) this.#scratch = new Uint32Array(count)
    return this.#scratch
  }
}

function area(reader: Reader, surface: Surface) {
  const [x, y, width, height] = [reader.u16(), reader.u16(), reader.u16(), reader.u16()]
  checkInside('paint', x, y, width, height, surface)
  // It would cost work, and no budget.
  if (width === 0 || height === 0) throw new MalformedError('an operation paints nothing')
  return { x, y, width, height }
}

function checkInside(what: string, x: number, y: number, width: number, height: number, surface: Surface) {
  if (x + width > surface.width || y + height > surface.height) {
    throw new MalformedError(
      `${what} ${width}x${height}+${x}+${y} lies outside the screen of ${surface.width}x${surface.height}`,
    )
  }
}

function readPalette(reader: Reader, width: number, height: number, pixels: Uint32Array) {
  const count = reader.u8() + 1
  const colours = reader.bytes(count * 3)
  // 256 entries whatever the count: an index past the end paints black, and needs no check per pixel.
  const palette = new Uint32Array(256).fill(OPAQUE)
  for (let index = 0, at = 0; index < count; index++, at += 3) {
    palette[index] = pixel(byte(colours, at), byte(colours, at + 1), byte(colours, at + 2))
  }
  if (count === 2) {
    const stride = (width + 7) >> 3
    const bits = reader.bytes(stride * height)
    let to = 0
    for (let row = 0; row < height; row++) {
      const from = row * stride
      for (let column = 0; column < width; column++) {
        pixels[to++] = palette[(byte(bits, from + (column >> 3)) >> (column & 7)) & 1] ?? OPAQUE
      }
    }
    return
  }
  const indices = reader.bytes(width * height)
  for (let at = 0; at < indices.length; at++) pixels[at] = palette[byte(indices, at)] ?? OPAQUE
}

/**
 * Each pixel is the difference to its left neighbour, green first, red and blue as differences to green.
 * All sums wrap at 256, which clamped arrays would not do: hence whole pixels in 32 bits.
 */
function readTrueColour(bytes: Uint8Array, width: number, pixels: Uint32Array) {
  let to = 0
  for (let at = 0; at < bytes.length; ) {
    let [green, redOver, blueOver] = [0, 0, 0]
    for (let column = 0; column < width; column++, at += 3) {
      green = (green + byte(bytes, at)) & 0xff
      redOver += byte(bytes, at + 1)
      blueOver += byte(bytes, at + 2)
      pixels[to++] = pixel((green + redOver) & 0xff, green, (green + blueOver) & 0xff)
    }
  }
}

/** The layout of image data in memory. Every machine that runs a browser is little endian. */
function pixel(red: number, green: number, blue: number): number {
  return OPAQUE | (blue << 16) | (green << 8) | red
}

/** A byte whose index was checked before, as the caller's length is. */
function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number
}
