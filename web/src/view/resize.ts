/**
 * The size that the remote screen is to have so that it fills the window, and when to ask for it.
 *
 * In: the window's size, what the session allows. Out: requests, after the window has been still for a moment. What the
 * server makes of one is its own business: it is never asked twice for the same.
 */

import type { Size } from './geometry.ts'

export const RESIZE_MIN: Size = { width: 320, height: 240 }

/** A window that is dragged larger changes with every frame. */
export const RESIZE_SETTLE_MS = 250

/** The remote size for a window: device pixels, even, within what is allowed; the picture is scaled for the rest. */
export function remoteSizeFor(window: Size, devicePixelRatio: number, max: Size): Size {
  const side = (length: number, least: number, most: number) => {
    const pixels = Math.floor(length * (devicePixelRatio > 0 ? devicePixelRatio : 1) + 1e-6)
    return Math.max(least, Math.min(pixels, Math.max(least, most))) & ~1
  }
  return {
    width: side(window.width, RESIZE_MIN.width, max.width),
    height: side(window.height, RESIZE_MIN.height, max.height),
  }
}

export class Resizer {
  readonly #ask: (size: Size) => void
  #timer: ReturnType<typeof setTimeout> | null = null
  #asked: Size | null = null

  constructor(ask: (size: Size) => void) {
    this.#ask = ask
  }

  /** The screen of size `present` is to become `wanted`. */
  want(wanted: Size, present: Size): void {
    this.#stop()
    if (isSame(wanted, present)) this.#asked = null
    else if (!this.#asked || !isSame(wanted, this.#asked)) {
      this.#timer = setTimeout(() => {
        this.#asked = wanted
        this.#ask(wanted)
      }, RESIZE_SETTLE_MS)
    }
  }

  /** Nothing is wanted any more; what is wanted next is asked for again. */
  forget(): void {
    this.#stop()
    this.#asked = null
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function isSame(one: Size, other: Size): boolean {
  return one.width === other.width && one.height === other.height
}
