/** The picture that painting happens on: the canvas in the page, a plain array in tests. */

export interface Surface {
  readonly width: number
  readonly height: number
  /** Becomes a black picture of this size. */
  reset(width: number, height: number): void
  /** Copies an area, which may overlap its target, as it was before. */
  copy(sx: number, sy: number, x: number, y: number, width: number, height: number): void
  fill(x: number, y: number, width: number, height: number, red: number, green: number, blue: number): void
  /** Sets an area to the first `width * height` of `pixels`: red in the lowest byte, then green, blue, alpha. */
  put(x: number, y: number, width: number, height: number, pixels: Uint32Array<ArrayBuffer>): void
  /** Draws the area at `(sx, sy)` of a decoded picture. */
  draw(
    image: VideoFrame | ImageBitmap,
    sx: number,
    sy: number,
    x: number,
    y: number,
    width: number,
    height: number,
  ): void
}

/** The surface of the page. Opaque, so that the compositor need not blend it. */
export class CanvasSurface implements Surface {
  readonly #canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext('2d', { alpha: false })
    if (!context) throw new Error('this browser gives no 2D canvas')
    this.#canvas = canvas
    this.#context = context
  }

  get width(): number {
    return this.#canvas.width
  }

  get height(): number {
    return this.#canvas.height
  }

  reset(width: number, height: number): void {
    // Setting a size allocates a new picture even if it is the same size.
    if (this.#canvas.width !== width) this.#canvas.width = width
    if (this.#canvas.height !== height) this.#canvas.height = height
    this.fill(0, 0, width, height, 0, 0, 0)
  }

  copy(sx: number, sy: number, x: number, y: number, width: number, height: number): void {
    // A canvas drawn onto itself is read as a whole before it is written: overlap is the browser's concern.
    this.#context.drawImage(this.#canvas, sx, sy, width, height, x, y, width, height)
  }

  fill(x: number, y: number, width: number, height: number, red: number, green: number, blue: number): void {
    this.#context.fillStyle = `rgb(${red},${green},${blue})`
    this.#context.fillRect(x, y, width, height)
  }

  put(x: number, y: number, width: number, height: number, pixels: Uint32Array<ArrayBuffer>): void {
    const bytes = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, width * height * 4)
    this.#context.putImageData(new ImageData(bytes, width, height), x, y)
  }

  draw(
    image: VideoFrame | ImageBitmap,
    sx: number,
    sy: number,
    x: number,
    y: number,
    width: number,
    height: number,
  ): void {
    this.#context.drawImage(image, sx, sy, width, height, x, y, width, height)
  }
}
