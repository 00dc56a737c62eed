/** A surface in plain memory: what tests look at instead of a canvas. */

import type { Surface } from './surface.ts'

export class ArraySurface implements Surface {
  width = 0
  height = 0
  #pixels = new Uint32Array(0)

  constructor(width: number, height: number) {
    this.reset(width, height)
  }

  /** The pixels of each row as `rrggbb`. */
  get rows(): string[][] {
    return Array.from({ length: this.height }, (_, y) =>
      Array.from({ length: this.width }, (_, x) => this.#hex(y * this.width + x)),
    )
  }

  reset(width: number, height: number): void {
    this.width = width
    this.height = height
    this.#pixels = new Uint32Array(width * height).fill(0xff000000)
  }

  copy(sx: number, sy: number, x: number, y: number, width: number, height: number): void {
    if (sx + width > this.width || sy + height > this.height)
      throw new Error('copied from outside the surface')
    const before = this.#pixels.slice()
    this.#each(x, y, width, height, (column, row) => before[(sy + row) * this.width + sx + column] ?? 0)
  }

  fill(x: number, y: number, width: number, height: number, red: number, green: number, blue: number): void {
    this.#each(x, y, width, height, () => 0xff000000 | (blue << 16) | (green << 8) | red)
  }

  put(x: number, y: number, width: number, height: number, pixels: Uint32Array<ArrayBuffer>): void {
    this.#each(x, y, width, height, (column, row) => pixels[row * width + column] ?? 0)
  }

  /** Shows a decoded picture in one grey: there is nothing here that could decode. */
  draw(_: unknown, _sx: number, _sy: number, x: number, y: number, width: number, height: number): void {
    this.fill(x, y, width, height, 0x77, 0x77, 0x77)
  }

  #each(x: number, y: number, width: number, height: number, pixel: (column: number, row: number) => number) {
    if (x + width > this.width || y + height > this.height) throw new Error('painted outside the surface')
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        this.#pixels[(y + row) * this.width + x + column] = pixel(column, row)
      }
    }
  }

  #hex(at: number): string {
    const value = this.#pixels[at] ?? 0
    const bytes = [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff]
    return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')
  }
}
